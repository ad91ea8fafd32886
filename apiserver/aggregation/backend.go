package aggregation

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	apidiscovery "k8s.io/api/apidiscovery/v2"
	"k8s.io/apimachinery/pkg/runtime/schema"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"k8s.io/kube-aggregator/pkg/apis/apiregistration/v1/helper"

	"github.com/strake-io/strake/apiserver"
	"github.com/strake-io/strake/apiserver/discovery"
)

const (
	// resync is how long a server that is well, or that cannot be asked, is left
	// alone; refresh how old its documents may become.
	resync  = 30 * time.Second
	refresh = time.Minute
	// firstRetry doubles with each failed try, up to resync.
	firstRetry = 5 * time.Millisecond
)

// backend is the server behind one APIService, as long as its spec stays as it is.
type backend struct {
	config  *Config
	name    string
	spec    apiregistrationv1.APIServiceSpec
	gv      schema.GroupVersion
	service serviceName
	port    int32
	stop    context.CancelFunc // set and called by the aggregator
	wake    chan struct{}

	// plain speaks HTTP/2 where the other side does; upgrading does not, for what
	// becomes another protocol. broken is why there are none.
	plain, upgrading *http.Transport
	broken           error
	available        atomic.Bool

	// remote is what the API server is told; owned by the aggregator.
	remote *apiserver.Remote
	// fetched is owned by run.
	fetched documents
}

// report is what became known: the condition, and the remote where it is another.
type report struct {
	from      *backend
	condition apiregistrationv1.APIServiceCondition
	remote    *apiserver.Remote
}

// newBackend begins with what was known of the server before, where it was.
func newBackend(config *Config, s *apiregistrationv1.APIService, before *apiserver.Remote) *backend {
	b := &backend{
		config: config, name: s.Name, spec: *s.Spec.DeepCopy(), gv: schema.GroupVersion{Group: s.Spec.Group, Version: s.Spec.Version},
		service: serviceName{s.Spec.Service.Namespace, s.Spec.Service.Name}, port: 443, wake: make(chan struct{}, 1),
	}
	if s.Spec.Service.Port != nil {
		b.port = *s.Spec.Service.Port
	}
	b.connect()
	// What was found before the server started holds until something else is found.
	b.available.Store(helper.IsAPIServiceConditionTrue(s, apiregistrationv1.Available))
	b.fetched.described = apidiscovery.APIVersionDiscovery{Version: b.gv.Version, Freshness: apidiscovery.DiscoveryFreshnessStale}
	if before != nil {
		b.fetched.described, b.fetched.openAPI, b.fetched.swagger = before.Described, before.OpenAPI, before.Swagger
	}
	b.remote = b.describe()
	return b
}

func (b *backend) connect() {
	config := &tls.Config{
		MinVersion: tls.VersionTLS12, ServerName: b.service.name + "." + b.service.namespace + ".svc",
		InsecureSkipVerify: b.spec.InsecureSkipTLSVerify, GetClientCertificate: b.config.Certificate,
	}
	if len(b.spec.CABundle) > 0 {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(b.spec.CABundle) {
			b.broken = errors.New("unable to load root certificates: unable to parse bytes as PEM block")
		}
	}
	transport := func() *http.Transport {
		return &http.Transport{
			DialContext: b.config.Dial, TLSClientConfig: config.Clone(), TLSHandshakeTimeout: 10 * time.Second,
			IdleConnTimeout: 90 * time.Second, MaxIdleConnsPerHost: 25, DisableCompression: true,
		}
	}
	b.plain, b.upgrading = transport(), transport()
	b.plain.ForceAttemptHTTP2 = true
	b.upgrading.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	b.upgrading.DisableKeepAlives = true
}

// wakeUp has the server looked at soon.
func (b *backend) wakeUp() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// resolve finds where the server is now.
func (b *backend) resolve(ctx context.Context) (*url.URL, error) {
	address, err := b.config.Resolve(ctx, b.service.namespace, b.service.name, b.port)
	if err != nil {
		return nil, err
	}
	if _, _, err := net.SplitHostPort(address); err != nil {
		return nil, err
	}
	return &url.URL{Scheme: "https", Host: address}, nil
}

// run looks at the server again and again until ctx ends.
func (b *backend) run(ctx context.Context, reports chan<- report) {
	defer b.plain.CloseIdleConnections()
	defer b.available.Store(false)
	retry := firstRetry
	for {
		found := b.check(ctx)
		if ctx.Err() != nil {
			return
		}
		up := found.Status == apiregistrationv1.ConditionTrue
		b.available.Store(up)
		r := report{from: b, condition: found}
		if b.fetched.update(ctx, b, up) {
			r.remote = b.describe()
		}
		if ctx.Err() != nil {
			return
		}
		select {
		case reports <- r:
		case <-ctx.Done():
			return
		}
		wait := resync
		if found.Reason == reasonFailedCheck {
			wait, retry = retry, min(2*retry, resync)
			b.plain.CloseIdleConnections()
		} else {
			retry = firstRetry
			if up && b.fetched.failed {
				wait = time.Second
			}
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-b.wake:
			retry = firstRetry
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

// describe is what the API server is told of this one.
func (b *backend) describe() *apiserver.Remote {
	return &apiserver.Remote{
		Remote: discovery.Remote{
			GroupVersion: b.gv,
			Priority:     discovery.Priority{Group: b.spec.GroupPriorityMinimum, Version: b.spec.VersionPriority},
			Described:    b.fetched.described,
		},
		Serve: b.serve, OpenAPI: b.fetched.openAPI, Swagger: b.fetched.swagger,
	}
}
