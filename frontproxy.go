package strake

import (
	"crypto/tls"
	"fmt"
	"time"

	"k8s.io/client-go/rest"
	apiregistration "k8s.io/kube-aggregator/pkg/client/clientset_generated/clientset/typed/apiregistration/v1"

	"github.com/strake-io/strake/apiserver/aggregation"
	"github.com/strake-io/strake/internal/pki"
)

// FrontProxy is the identity by which the API server hands requests on to the
// servers that APIServices lead to. They believe what it says of users because of
// its certificate.
type FrontProxy struct {
	// CA is the PEM certificate that signed the proxy's own, and Names are the
	// common names that one may have; none means any.
	CA    []byte
	Names []string
	// Certificate is the client certificate.
	Certificate func(*tls.CertificateRequestInfo) (*tls.Certificate, error)
}

// FrontProxyName is the common name of front proxies, upstream's tools' too.
const FrontProxyName = "front-proxy-client"

// newFrontProxy makes an identity that nobody knows yet.
func newFrontProxy() (*FrontProxy, error) {
	ca, err := pki.New("front-proxy-ca", time.Now())
	if err != nil {
		return nil, fmt.Errorf("strake: front proxy: %w", err)
	}
	own := ca.Renew(pki.Request{CommonName: FrontProxyName}, time.Now)
	return &FrontProxy{CA: ca.PEM(), Names: []string{FrontProxyName}, Certificate: own.GetClientCertificate}, nil
}

// assembleAggregation lets other servers serve what APIServices say.
func (c *ControlPlane) assembleAggregation() (err error) {
	if c.config.FrontProxy == nil {
		if c.config.FrontProxy, err = newFrontProxy(); err != nil {
			return err
		}
	}
	config := c.RESTConfig(serverUser)
	config.UserAgent = agents[serverUser.GetName()]
	config.WarningHandlerWithContext = rest.NoWarnings{}
	client, err := apiregistration.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("strake: client of APIServices: %w", err)
	}
	c.aggregator, err = aggregation.New(aggregation.Config{
		Server: c.server, Client: client.APIServices(), Certificate: c.config.FrontProxy.Certificate,
		Logger: c.config.Logger.WithName("aggregation"),
	})
	return err
}

// otherServers is what the servers that APIServices lead to have to know.
func (c *ControlPlane) otherServers() aggregation.Authentication {
	return aggregation.Authentication{ClientCA: c.config.ClientCA, RequestHeaderCA: c.config.FrontProxy.CA, Names: c.config.FrontProxy.Names}
}
