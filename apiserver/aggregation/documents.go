package aggregation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	apidiscovery "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/kube-openapi/pkg/aggregator"
	"k8s.io/kube-openapi/pkg/handler3"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"github.com/strake-io/strake/apiserver/discovery"
)

// documents are what another server says of itself.
type documents struct {
	described apidiscovery.APIVersionDiscovery
	openAPI   map[string]string
	swagger   *spec.Swagger

	fetchedAt   time.Time
	failed      bool
	etag        string // of described; "" where it was not of the aggregated form
	swaggerETag string
}

// update fetches what is old, where the server is up. It reports whether anything
// changed.
func (d *documents) update(ctx context.Context, b *backend, up bool) (changed bool) {
	if !up {
		return d.freshness(apidiscovery.DiscoveryFreshnessStale)
	}
	if !d.failed && !d.fetchedAt.IsZero() && time.Since(d.fetchedAt) < refresh && d.described.Freshness == apidiscovery.DiscoveryFreshnessCurrent {
		return false
	}
	began := time.Now()
	changed, err := d.fetchDiscovery(ctx, b)
	if d.failed = err != nil; d.failed {
		b.config.Logger.V(1).Info("Could not fetch discovery", "apiService", b.name, "error", err.Error())
		return d.freshness(apidiscovery.DiscoveryFreshnessStale)
	}
	changed = d.freshness(apidiscovery.DiscoveryFreshnessCurrent) || changed
	for _, fetch := range []func(context.Context, *backend) (bool, error){d.fetchIndex, d.fetchSwagger} {
		other, err := fetch(ctx, b)
		changed = changed || other
		if err != nil {
			// As upstream, what was fetched before stays.
			b.config.Logger.V(1).Info("Could not fetch an openapi document", "apiService", b.name, "error", err.Error())
		}
	}
	d.fetchedAt = began
	return changed
}

func (d *documents) freshness(f apidiscovery.DiscoveryFreshness) (changed bool) {
	changed = d.described.Freshness != f
	d.described.Freshness = f
	return changed
}

const acceptAggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

// fetchDiscovery asks for the aggregated document, and where there is none for that
// of the group version.
func (d *documents) fetchDiscovery(ctx context.Context, b *backend) (changed bool, err error) {
	header := http.Header{"Accept": {acceptAggregated}}
	if d.etag != "" {
		header.Set("If-None-Match", d.etag)
	}
	a, _, err := b.get(ctx, asAggregator, "/apis", header, checkTimeout)
	if err != nil {
		return false, err
	}
	switch {
	case a.code == http.StatusNotModified:
		return false, nil
	case a.code == http.StatusServiceUnavailable:
		return false, fmt.Errorf("service %s/%s returned non-success response code: %d", b.service.namespace, b.service.name, a.code)
	case a.code == http.StatusOK && isAggregated(a.header.Get("Content-Type")):
		var list apidiscovery.APIGroupDiscoveryList
		if err := json.Unmarshal(a.body, &list); err != nil {
			return false, err
		}
		d.etag = a.header.Get("Etag")
		return d.describe(pick(&list, b.gv.Group, b.gv.Version)), nil
	}
	a, where, err := b.get(ctx, asAggregator, discovery.Root(b.gv), http.Header{"Accept": {"application/json"}}, checkTimeout)
	if err != nil {
		return false, err
	}
	if a.code != http.StatusOK {
		return false, fmt.Errorf("failed to download legacy discovery for %s: %d", where, a.code)
	}
	var list metav1.APIResourceList
	if err := json.Unmarshal(a.body, &list); err != nil {
		return false, err
	}
	d.etag = ""
	return d.describe(fromLegacy(b.gv.Version, list.APIResources)), nil
}

func (d *documents) describe(next apidiscovery.APIVersionDiscovery) (changed bool) {
	next.Freshness = d.described.Freshness
	old, err1 := json.Marshal(d.described)
	now, err2 := json.Marshal(next)
	d.described = next
	return err1 != nil || err2 != nil || string(old) != string(now)
}

func isAggregated(contentType string) bool {
	media, params, _ := strings.Cut(contentType, ";")
	wanted := map[string]bool{"g=apidiscovery.k8s.io": true, "v=v2": true, "as=APIGroupDiscoveryList": true}
	for param := range strings.SplitSeq(params, ";") {
		delete(wanted, strings.TrimSpace(param))
	}
	return strings.TrimSpace(media) == "application/json" && len(wanted) == 0
}

// pick finds one version in an aggregated document; what is not there is empty.
func pick(list *apidiscovery.APIGroupDiscoveryList, group, version string) apidiscovery.APIVersionDiscovery {
	for _, g := range list.Items {
		if g.Name != group {
			continue
		}
		for _, v := range g.Versions {
			if v.Version != version {
				continue
			}
			for i := range v.Resources {
				r := &v.Resources[i]
				r.ResponseKind = orEmpty(r.ResponseKind) // some clients cannot do without
				for j := range r.Subresources {
					r.Subresources[j].ResponseKind = orEmpty(r.Subresources[j].ResponseKind)
				}
			}
			return v
		}
	}
	return apidiscovery.APIVersionDiscovery{Version: version}
}

func orEmpty(kind *metav1.GroupVersionKind) *metav1.GroupVersionKind {
	if kind == nil {
		return &metav1.GroupVersionKind{}
	}
	return kind
}

// fromLegacy puts a list of resources, each sub-resource by itself, into the
// aggregated form.
func fromLegacy(version string, list []metav1.APIResource) apidiscovery.APIVersionDiscovery {
	out := apidiscovery.APIVersionDiscovery{Version: version}
	at := map[string]int{}
	get := func(name string) *apidiscovery.APIResourceDiscovery {
		i, known := at[name]
		if !known {
			i = len(out.Resources)
			at[name] = i
			out.Resources = append(out.Resources, apidiscovery.APIResourceDiscovery{Resource: name, ResponseKind: &metav1.GroupVersionKind{}})
		}
		return &out.Resources[i]
	}
	for _, r := range list {
		kind := &metav1.GroupVersionKind{Group: r.Group, Version: r.Version, Kind: r.Kind}
		name, sub, isSub := strings.Cut(r.Name, "/")
		parent := get(name)
		if parent.Scope = apidiscovery.ScopeCluster; r.Namespaced {
			parent.Scope = apidiscovery.ScopeNamespace
		}
		if isSub {
			parent.Subresources = append(parent.Subresources, apidiscovery.APISubresourceDiscovery{Subresource: sub, ResponseKind: kind, Verbs: r.Verbs})
			continue
		}
		parent.ResponseKind, parent.SingularResource = kind, r.SingularName
		parent.Verbs, parent.ShortNames, parent.Categories = r.Verbs, r.ShortNames, r.Categories
	}
	return out
}

// fetchIndex asks which documents of openapi version 3 there are.
func (d *documents) fetchIndex(ctx context.Context, b *backend) (changed bool, err error) {
	a, where, err := b.get(ctx, specDownload, "/openapi/v3", http.Header{"Accept": {"application/json"}}, documentTimeout)
	if err != nil {
		return false, err
	}
	next := map[string]string{}
	switch a.code {
	case http.StatusNotFound: // it has only version 2
	case http.StatusOK:
		var index handler3.OpenAPIV3Discovery
		if err := json.Unmarshal(a.body, &index); err != nil {
			return false, err
		}
		for path, doc := range index.Paths {
			if path == strings.TrimPrefix(discovery.Root(b.gv), "/") {
				next[path] = doc.ServerRelativeURL
			}
		}
	default:
		return false, fmt.Errorf("%s answers %d", where, a.code)
	}
	changed = len(next) != len(d.openAPI)
	for path, url := range next {
		changed = changed || d.openAPI[path] != url
	}
	d.openAPI = next
	return changed, nil
}

// fetchSwagger asks for the document of version 2 and keeps what it says of the
// group version.
func (d *documents) fetchSwagger(ctx context.Context, b *backend) (changed bool, err error) {
	header := http.Header{"Accept": {"application/json"}}
	if d.swaggerETag != "" {
		header.Set("If-None-Match", d.swaggerETag)
	}
	a, where, err := b.get(ctx, specDownload, "/openapi/v2", header, documentTimeout)
	if err != nil {
		return false, err
	}
	switch a.code {
	case http.StatusNotModified:
		return false, nil
	case http.StatusNotFound:
		changed = d.swagger != nil
		d.swagger, d.swaggerETag = nil, ""
		return changed, nil
	case http.StatusOK:
	default:
		return false, fmt.Errorf("%s answers %d", where, a.code)
	}
	var whole spec.Swagger
	if err := whole.UnmarshalJSON(a.body); err != nil {
		return false, err
	}
	if whole.Paths == nil {
		return false, errors.New(where + " has no paths")
	}
	d.swagger = aggregator.FilterSpecByPathsWithoutSideEffects(&whole, []string{discovery.Root(b.gv) + "/"})
	d.swaggerETag = a.header.Get("Etag")
	return true, nil
}
