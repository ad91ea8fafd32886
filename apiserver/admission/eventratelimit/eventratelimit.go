// Package eventratelimit is the admission plugin that bounds how fast clients write
// events. It is off unless a program adds it.
// See https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#eventratelimit.
package eventratelimit

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/utils/lru"

	"github.com/strake-io/strake/apiserver/admission"
)

// By says which events share an allowance.
type By string

// All events of the server, those of a namespace, those that a user writes, and those
// of one source about one object.
const (
	Server          By = "Server"
	Namespace       By = "Namespace"
	User            By = "User"
	SourceAndObject By = "SourceAndObject"
)

// Limit is an allowance for each of the things that By names.
type Limit struct {
	By By
	// QPS is how many events per second are allowed, and Burst how many at once
	// after a rest. Both are positive.
	QPS, Burst int
	// CacheSize is how many allowances are remembered; one that was forgotten begins
	// anew. 4096 if 0. A limit of the server has one.
	CacheSize int
}

// Plugin implements admission.Validator.
type Plugin struct{ limits []*limit }

// New makes the plugin. An event must keep to each of the limits, of which there is at
// least one.
func New(limits ...Limit) (*Plugin, error) {
	if len(limits) == 0 {
		return nil, errors.New("eventratelimit: no limits")
	}
	p := &Plugin{}
	for i, l := range limits {
		_, known := key(l.By, &admission.Attributes{})
		switch {
		case !known:
			return nil, fmt.Errorf("eventratelimit: limit %d: there are no limits by %q", i, l.By)
		case l.QPS <= 0 || l.Burst <= 0 || l.CacheSize < 0:
			return nil, fmt.Errorf("eventratelimit: limit %d: QPS and Burst must be positive, and CacheSize not negative", i)
		}
		if l.CacheSize == 0 {
			l.CacheSize = 4096
		}
		p.limits = append(p.limits, &limit{Limit: l, allowances: lru.New(l.CacheSize)})
	}
	return p, nil
}

// Name implements admission.Plugin.
func (*Plugin) Name() string { return "EventRateLimit" }

// Validate implements admission.Validator.
func (p *Plugin) Validate(_ context.Context, a *admission.Attributes) error {
	// Events of the group events.k8s.io are not counted: upstream does not either.
	if a.Operation != admission.Create && a.Operation != admission.Update || a.Kind.GroupKind() != (schema.GroupKind{Kind: "Event"}) || a.DryRun {
		return nil
	}
	var over []error
	for _, l := range p.limits {
		if of, _ := key(l.By, a); !l.allows(of) {
			over = append(over, fmt.Errorf("limit reached on type %v for key %v", l.By, of))
		}
	}
	if err := utilerrors.NewAggregate(over); err != nil {
		return apierrors.NewTooManyRequestsError(err.Error())
	}
	return nil
}

type limit struct {
	Limit
	mu         sync.Mutex // guards that a key has one allowance
	allowances *lru.Cache
}

func (l *limit) allows(key string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	a, ok := l.allowances.Get(key)
	if !ok {
		a = flowcontrol.NewTokenBucketRateLimiter(float32(l.QPS), l.Burst)
		l.allowances.Add(key, a)
	}
	return a.(flowcontrol.RateLimiter).TryAccept()
}

// key names what an event shares an allowance with, where by is known.
func key(by By, a *admission.Attributes) (string, bool) {
	switch by {
	case Server:
		return "", true
	case Namespace:
		return a.Namespace, true
	case User:
		if a.User == nil {
			return "", true
		}
		return a.User.GetName(), true
	case SourceAndObject:
		e, ok := a.Object.(*corev1.Event)
		if !ok {
			return "", true
		}
		of := e.InvolvedObject
		return strings.Join([]string{e.Source.Component, e.Source.Host, of.Kind, of.Namespace, of.Name, string(of.UID), of.APIVersion}, ""), true
	}
	return "", false
}
