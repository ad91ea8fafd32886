package registry

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/store"
	"github.com/strake-io/strake/store/cache"
)

// freshWait is how long a read waits for a revision that a client has seen
// elsewhere and this server has not.
const freshWait = 3 * time.Second

// Selection says which objects of a resource are meant.
type Selection struct {
	// Namespace "" means all.
	Namespace string
	Labels    labels.Selector
	Fields    fields.Selector
}

// Check refuses field selectors that name what the resource cannot select by.
func (r *Registry) Check(sel Selection) error {
	if sel.Fields == nil || sel.Fields.Empty() {
		return nil
	}
	known := r.fieldsOf(r.Resource.New())
	for _, requirement := range sel.Fields.Requirements() {
		if _, ok := known[requirement.Field]; ok || requirement.Field == "metadata.namespace" && !free(r.Resource) {
			continue
		}
		if r.Resource.SelectableFields == nil && !free(r.Resource) {
			return apierrors.NewBadRequest(fmt.Sprintf(
				"%q is not a known field selector: only %q, %q", requirement.Field, "metadata.name", "metadata.namespace"))
		}
		return apierrors.NewBadRequest("field label not supported: " + requirement.Field)
	}
	return nil
}

// free says that objects of a resource are of no Go type.
func free(res *resource.Resource) bool {
	_, ok := res.New().(runtime.Unstructured)
	return ok
}

// Matches says whether an object is selected, its namespace included.
func (r *Registry) Matches(sel Selection, obj runtime.Object) bool {
	accessor, err := meta.Accessor(obj)
	if err != nil {
		return false
	}
	if sel.Namespace != "" && r.Resource.Namespaced && accessor.GetNamespace() != sel.Namespace {
		return false
	}
	if sel.Labels != nil && !sel.Labels.Empty() && !sel.Labels.Matches(labels.Set(accessor.GetLabels())) {
		return false
	}
	return sel.Fields == nil || sel.Fields.Empty() || sel.Fields.Matches(r.fieldsOf(obj))
}

// everything says that a selection narrows by namespace only.
func (s Selection) everything() bool {
	return (s.Labels == nil || s.Labels.Empty()) && (s.Fields == nil || s.Fields.Empty())
}

// interest is the narrowest look-up of the cache that has all of a selection.
func (r *Registry) interest(sel Selection) cache.Interest {
	namespace := sel.Namespace
	if sel.Fields != nil {
		if ns, ok := sel.Fields.RequiresExactMatch("metadata.namespace"); ok && namespace == "" {
			namespace = ns
		}
		name, ok := sel.Fields.RequiresExactMatch("metadata.name")
		if ok && name != "" && (!r.Resource.Namespaced || namespace != "") {
			return cache.Interest{Key: r.key(namespace, name)}
		}
		for _, index := range r.Resource.IndexedFields {
			if value, ok := sel.Fields.RequiresExactMatch(index); ok {
				return cache.Interest{Index: index, Value: value}
			}
		}
	}
	if r.Resource.Namespaced && namespace != "" {
		return cache.Interest{Prefix: r.prefix + namespace + "/"}
	}
	return cache.Interest{}
}

// Get reads one object. version is the client's resourceVersion: "" for the
// newest, "0" for any, else not older than that.
func (r *Registry) Get(ctx context.Context, namespace, name, version string) (*cache.Entry, error) {
	at, revision, err := r.at(version, "", 0)
	if err != nil {
		return nil, err
	}
	snapshot, err := r.snapshot(ctx, at, revision)
	if err != nil {
		return nil, err
	}
	e := snapshot.Get(r.key(namespace, name))
	if e == nil {
		return nil, r.notFound(name)
	}
	return r.Face(ctx, e)
}

// ListOptions of a list, as the client gave them.
type ListOptions struct {
	Selection
	Version  string
	Match    metav1.ResourceVersionMatch
	Limit    int64
	Continue string
}

// Page is a list or a piece of one.
type Page struct {
	Entries  []*cache.Entry
	Revision int64
	// Continue is the token for the next page; "" at the end. Remaining is how
	// many objects follow, where that is known.
	Continue  string
	Remaining *int64
}

// List reads one consistent page.
func (r *Registry) List(ctx context.Context, opts ListOptions) (*Page, error) {
	if err := r.Check(opts.Selection); err != nil {
		return nil, err
	}
	prefix := r.prefix
	if r.Resource.Namespaced && opts.Namespace != "" {
		prefix += opts.Namespace + "/"
	}
	var after string
	var at cache.At
	var revision int64
	var err error
	if opts.Continue != "" {
		if after, revision, err = decodeContinue(opts.Continue, prefix); err != nil {
			return nil, apierrors.NewBadRequest(fmt.Sprintf("invalid continue token: %v", err))
		}
		if opts.Version != "" && opts.Version != "0" {
			return nil, apierrors.NewBadRequest("specifying resource version is not allowed when using continue")
		}
		at = cache.Exactly(revision)
		if revision < 0 {
			at, revision = cache.Latest, 0
		}
	} else if at, revision, err = r.at(opts.Version, opts.Match, opts.Limit); err != nil {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("invalid resource version: %v", err))
	}
	if opts.Version == "0" {
		opts.Limit = 0
	}
	snapshot, err := r.snapshot(ctx, at, revision)
	if err != nil && at == cache.Exactly(revision) && apierrors.IsResourceExpired(err) {
		return r.listOld(ctx, opts, prefix, after, revision)
	}
	if err != nil {
		return nil, err
	}
	page := &Page{Revision: snapshot.Revision()}
	more, err := r.collect(ctx, page, snapshot, opts, prefix, after)
	if err != nil {
		return nil, err
	}
	if more {
		last := page.Entries[len(page.Entries)-1].Key
		page.Continue = encodeContinue(last, prefix, page.Revision)
		if opts.everything() {
			remaining := int64(snapshot.Count(prefix, last))
			page.Remaining = &remaining
		}
	}
	return page, nil
}

// collect fills a page and says whether there is more.
func (r *Registry) collect(ctx context.Context, page *Page, snapshot *cache.Snapshot, opts ListOptions, prefix, after string) (more bool, err error) {
	if r.shown() {
		return r.collectShown(ctx, page, snapshot, opts, prefix, after)
	}
	all := opts.everything()
	if all && opts.Limit == 0 && after == "" {
		page.Entries = make([]*cache.Entry, 0, snapshot.Len())
	}
	r.candidates(snapshot, opts, prefix, after, func(e *cache.Entry) bool {
		if !all && !r.Matches(opts.Selection, e.Object) {
			return true
		}
		if opts.Limit > 0 && int64(len(page.Entries)) == opts.Limit {
			more = true
			return false
		}
		page.Entries = append(page.Entries, e)
		return true
	})
	return more, nil
}

// convertedAtOnce is how many objects are converted together: a webhook gets them
// in one request.
const convertedAtOnce = 500

// collectShown is collect where objects are converted before they are matched.
func (r *Registry) collectShown(ctx context.Context, page *Page, snapshot *cache.Snapshot, opts ListOptions, prefix, after string) (more bool, err error) {
	for {
		var chunk []*cache.Entry
		r.candidates(snapshot, opts, prefix, after, func(e *cache.Entry) bool {
			chunk = append(chunk, e)
			return len(chunk) < convertedAtOnce
		})
		if len(chunk) == 0 {
			return false, nil
		}
		after = chunk[len(chunk)-1].Key
		faces, err := r.faces(ctx, chunk)
		if err != nil {
			return false, err
		}
		for _, e := range faces {
			if !r.Matches(opts.Selection, e.Object) {
				continue
			}
			if opts.Limit > 0 && int64(len(page.Entries)) == opts.Limit {
				return true, nil
			}
			page.Entries = append(page.Entries, e)
		}
	}
}

// candidates visits the entries after a key that a selection may concern.
func (r *Registry) candidates(snapshot *cache.Snapshot, opts ListOptions, prefix, after string, visit func(e *cache.Entry) bool) {
	switch interest := r.interest(opts.Selection); {
	case interest.Key != "":
		if e := snapshot.Get(interest.Key); e != nil && e.Key > after {
			visit(e)
		}
	case interest.Index != "":
		snapshot.Index(interest.Index, interest.Value, after, visit)
	default:
		snapshot.Ascend(max(prefix, interest.Prefix), after, visit)
	}
}

// listOld reads from the store what lies before the cache's history.
func (r *Registry) listOld(ctx context.Context, opts ListOptions, prefix, after string, revision int64) (*Page, error) {
	page := &Page{Revision: revision}
	for {
		result, err := r.set.config.Store.List(ctx, prefix, store.ListOptions{Revision: revision, Limit: 500, After: after})
		if errors.Is(err, store.ErrCompacted) && opts.Continue != "" {
			return nil, expiredPage(after, prefix)
		}
		if err != nil {
			return nil, r.readError(err, revision)
		}
		for i := range result.KVs {
			kv := &result.KVs[i]
			after = kv.Key
			state, err := r.stateOf(ctx, kv)
			if err != nil {
				return nil, err
			}
			obj := state.obj
			if !r.Matches(opts.Selection, obj) {
				continue
			}
			if opts.Limit > 0 && int64(len(page.Entries)) == opts.Limit {
				page.Continue = encodeContinue(page.Entries[len(page.Entries)-1].Key, prefix, revision)
				return page, nil
			}
			page.Entries = append(page.Entries, &cache.Entry{
				Key: kv.Key, Revision: kv.ModRevision, CreateRevision: kv.CreateRevision, Size: len(kv.Value), Object: obj,
			})
		}
		if !result.More() || len(result.KVs) == 0 {
			return page, nil
		}
	}
}

// at says how fresh a read must be.
func (r *Registry) at(version string, match metav1.ResourceVersionMatch, limit int64) (cache.At, int64, error) {
	if version == "" {
		return cache.Latest, 0, nil
	}
	revision, err := ParseVersion(version)
	if err != nil {
		return cache.Latest, 0, err
	}
	switch {
	case match == metav1.ResourceVersionMatchExact, match == "" && limit > 0 && revision > 0:
		return cache.Exactly(revision), revision, nil
	case revision == 0:
		return cache.Any, 0, nil
	}
	return cache.NotOlderThan(revision), revision, nil
}

func (r *Registry) snapshot(ctx context.Context, at cache.At, revision int64) (*cache.Snapshot, error) {
	if revision > r.set.config.Cache.Revision() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, freshWait)
		defer cancel()
	}
	snapshot, err := r.cached.Snapshot(ctx, at)
	if err != nil {
		return nil, r.readError(err, revision)
	}
	return snapshot, nil
}

// Oldest is the revision from which a watch can still start.
func (r *Registry) Oldest() int64 { return r.cached.Oldest() }

// Watch starts a watch of what a selection may concern. The events still have to
// be matched with it: see [Registry.Matches].
func (r *Registry) Watch(ctx context.Context, sel Selection, after int64, every time.Duration) (*cache.Watcher, error) {
	return r.cached.Watch(ctx, cache.WatchOptions{After: after, Interest: r.interest(sel), ProgressEvery: every})
}

// SnapshotAndWatch reads what is selected now, and watches from there on. The
// entries have been matched already.
func (r *Registry) SnapshotAndWatch(ctx context.Context, sel Selection, version string, every time.Duration) (*Page, *cache.Watcher, error) {
	at, revision, err := r.at(version, "", 0)
	if err != nil {
		return nil, nil, err
	}
	snapshot, err := r.snapshot(ctx, at, revision)
	if err != nil {
		return nil, nil, err
	}
	page := &Page{Revision: snapshot.Revision()}
	prefix := r.prefix
	if r.Resource.Namespaced && sel.Namespace != "" {
		prefix += sel.Namespace + "/"
	}
	if _, err := r.collect(ctx, page, snapshot, ListOptions{Selection: sel}, prefix, ""); err != nil {
		return nil, nil, err
	}
	watcher, err := r.Watch(ctx, sel, snapshot.Revision(), every)
	if err != nil {
		return nil, nil, err
	}
	return page, watcher, nil
}
