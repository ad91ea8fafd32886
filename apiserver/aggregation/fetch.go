package aggregation

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"k8s.io/client-go/transport"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"

	"github.com/strake-io/strake/apiserver/discovery"
)

// MaxDocument is the largest document that is read of another server, in bytes.
const MaxDocument = 32 << 20

const (
	checkTimeout      = 5 * time.Second
	documentTimeout   = 60 * time.Second
	reasonFailedCheck = "FailedDiscoveryCheck"
)

// asker is who asks another server.
type asker struct {
	name   string
	groups []string
}

var (
	asAggregator = asker{"system:kube-aggregator", []string{"system:masters"}}
	specDownload = asker{"system:aggregator", nil}
)

// answer of another server.
type answer struct {
	code   int
	header http.Header
	body   []byte
}

// get asks the server for a document. where is what was asked.
func (b *backend) get(ctx context.Context, who asker, path string, header http.Header, timeout time.Duration) (a answer, where string, err error) {
	if b.broken != nil {
		return a, "", b.broken
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	u, err := b.resolve(ctx)
	if err != nil {
		return a, "", err
	}
	u.Path = path
	where = u.String()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, where, nil)
	if err != nil {
		return a, where, err
	}
	for name, values := range header {
		req.Header[name] = values
	}
	transport.SetAuthProxyHeaders(req, who.name, "", who.groups, nil)
	client := &http.Client{
		Transport:     b.plain,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		return a, where, err
	}
	defer resp.Body.Close()
	a = answer{code: resp.StatusCode, header: resp.Header}
	if a.body, err = io.ReadAll(io.LimitReader(resp.Body, MaxDocument+1)); err != nil {
		return a, where, err
	}
	if len(a.body) > MaxDocument {
		return a, where, fmt.Errorf("the document is larger than %d bytes", MaxDocument)
	}
	return a, where, nil
}

// check finds out whether the server serves its group version.
func (b *backend) check(ctx context.Context) apiregistrationv1.APIServiceCondition {
	around := look(ctx, b.config.Server.Objects(), b.service)
	if why, ok := around.unavailable(b.service, b.port); !ok {
		return why
	}
	a, where, err := b.get(ctx, asAggregator, discovery.Root(b.gv), nil, checkTimeout)
	if err == nil && (a.code < 200 || a.code >= 300) {
		err = fmt.Errorf("bad status from %s: %d", where, a.code)
	}
	switch {
	case err == nil:
		return condition(apiregistrationv1.ConditionTrue, "Passed", "all checks passed")
	case where == "":
		return condition(apiregistrationv1.ConditionFalse, reasonFailedCheck, "%v", err)
	case errors.Is(err, context.DeadlineExceeded):
		return condition(apiregistrationv1.ConditionFalse, reasonFailedCheck, "timed out waiting for %s", where)
	}
	return condition(apiregistrationv1.ConditionFalse, reasonFailedCheck, "failing or missing response from %s: %v", where, err)
}
