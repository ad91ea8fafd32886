package apiserver

import (
	"context"
	"fmt"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/strake-io/strake/apiserver/fairness"
)

// maxWait is the longest that a request waits for its turn.
const maxWait = time.Minute

// admitTurn bounds the time of the request and waits until it may be served.
// Connections (exec, logs, proxies) take as long as they like, and no turn. Nor do
// clients in this process, which the host has made as many of as it wants: thousands
// of simulated nodes may start at once, and nobody outside waits for them.
func (x *exchange) admitTurn() (done func(), err error) {
	timeout, cancel := x.config.RequestTimeout, func() {}
	if long := x.longRunning(); long && x.info.Verb != "watch" {
		return cancel, nil
	} else if !long {
		if t := x.query.Get("timeout"); t != "" {
			given, err := time.ParseDuration(t)
			if err != nil {
				return nil, apierrors.NewBadRequest(fmt.Sprintf("invalid timeout specified in the request URL - %s", err))
			}
			if given > 0 {
				timeout = min(timeout, given)
			}
		}
		var ctx context.Context
		ctx, cancel = context.WithTimeout(x.r.Context(), timeout)
		x.r = x.r.WithContext(ctx)
	}
	if x.fair == nil {
		return cancel, nil
	}
	class := x.fair.Classify(&x.info, x.user)
	class.SetHeaders(x.w.Header())
	if _, inProcess := inProcessUser(x.r.Context()); inProcess {
		return cancel, nil
	}
	if x.turn, err = class.Begin(x.r.Context(), x.work(class), min(timeout/4, maxWait)); err != nil {
		cancel()
		return nil, err
	}
	return func() { x.turn.End(); cancel() }, nil
}

// begun ends the turn of a watch that has begun: from there on it takes little, for
// as long as it likes.
func (x *exchange) begun() {
	if x.turn != nil {
		x.turn.End()
	}
}

// work is what the request will take, so far as one can tell by now.
func (x *exchange) work(class fairness.Class) fairness.Work {
	if x.registry == nil || x.resource.Create != nil || x.resource.Computed != nil {
		return fairness.One
	}
	switch x.info.Verb {
	case "list":
		return x.listWork(class)
	case "watch":
		if !x.initialEvents() {
			return fairness.One
		}
		return x.listWork(class)
	case "create", "update", "patch", "delete":
		if x.info.Resource == "serviceaccounts" && x.info.Subresource == "token" {
			return fairness.One // it changes nothing that is watched
		}
		watchers := x.registry.Watchers(x.namespace(), x.info.Name)
		class.Watched(watchers)
		return fairness.ChangeWork(watchers, class.Widest())
	}
	return fairness.One
}

func (x *exchange) listWork(class fairness.Class) fairness.Work {
	if x.info.Name != "" {
		return fairness.One
	}
	var limit int64
	if text := x.query.Get("limit"); text != "" {
		var err error
		if limit, err = strconv.ParseInt(text, 10, 64); err != nil {
			return fairness.WidestList(class.Widest())
		}
	}
	objects, bytes := x.registry.Size()
	return fairness.ListWork(fairness.Collection{Objects: objects, Bytes: bytes}, limit, class.Widest())
}

// initialEvents says whether a watch begins with what there is.
func (x *exchange) initialEvents() bool {
	send, err := strconv.ParseBool(x.query.Get("sendInitialEvents"))
	version := x.query.Get("resourceVersion")
	return err == nil && send || version == "" || version == "0"
}
