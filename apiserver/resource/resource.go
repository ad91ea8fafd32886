// Package resource says what a resource of the API is: a value that holds its
// names, its types and the handful of functions in which one kind differs from
// another. The API server's one generic registry serves every such value; the
// packages under apiserver/resources declare those of the built-in API groups,
// and a program declares its own in the same way.
//
// The functions here decide and do no I/O: they get objects that are theirs to
// change (the "obj" of a write) or only to read ("old"), and must be safe for
// concurrent use. What needs the registry, a sub-resource such as pods/binding,
// is handed [Objects].
package resource

import (
	"context"
	"net/http"
	"net/url"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// Resource is one resource of the API. It does not change once a server has it.
type Resource struct {
	// GVK is the group, the served version and the kind. A resource that is served
	// in several versions is declared once for each: one is stored, the others
	// are faces of it (StoredAs).
	GVK schema.GroupVersionKind
	// Plural is the name in paths ("pods"), Singular the one kubectl also takes
	// (empty: the kind in lower case).
	Plural, Singular string
	ShortNames       []string
	Categories       []string
	Namespaced       bool
	// StoragePrefix is the key below /registry/, upstream's; empty means
	// Plural for the groups without a domain of upstream's own legacy
	// ("pods", "deployments"), which is what most have. Services live under
	// "services/specs", nodes under "minions".
	StoragePrefix string
	// New and NewList make empty objects: pointers to the Go types.
	New, NewList func() runtime.Object
	// ListKind is the kind of lists; empty means the kind with "List" behind it.
	ListKind string
	// Unserved resources have no path and no place in discovery: the version of a
	// kind in which others are stored, or in which fields were once set.
	Unserved bool
	// Deprecated is a warning that clients get with every answer; empty: none.
	Deprecated string
	// Verbs served; nil means create, delete, deletecollection, get, list,
	// patch, update and watch.
	Verbs []string

	Strategy
	Table
	// Subresources by name.
	Subresources []Subresource
	// SelectableFields are the fields a field selector may name beside
	// metadata.name and metadata.namespace, with the object's values. Every
	// object gives the same set of names; so does an empty one.
	SelectableFields func(obj runtime.Object) fields.Set
	// Share lets an object from the store, defaulted, have parts in common with others;
	// nil: it stands by itself. For kinds of which there are many alike.
	Share func(obj runtime.Object, seen *Shared)
	// IndexedFields are those of the selectable fields by which lists and
	// watches are looked up, not searched: "spec.nodeName" of pods. Only what
	// clients select by all the time is worth an index.
	IndexedFields []string
	// TTL after which an object is removed by itself; nil means never.
	TTL func(obj runtime.Object) time.Duration

	// StoredAs makes this resource another face of one that is stored
	// (events.k8s.io events are core events, autoscaling/v1 autoscalers those of
	// autoscaling/v2): reads convert from that one's objects, writes to them, and
	// keys, TTL and watch cache are that one's. The Strategy here runs on this
	// resource's own type.
	StoredAs *StoredAs
	// StoredForm is how the objects are stored; nil means in this version, as protobuf
	// where the type has it.
	StoredForm *StoredForm
	// Converter, where the stored form of an object may be of any version of its
	// kind (custom resources): reads convert to this resource's version, writes
	// to that of the stored resource. All versions of the kind have the same one.
	Converter Converter
	// Prune removes the fields of a decoded object that its kind does not know,
	// and returns their paths, for types whose decoding does not find them out
	// (unstructured ones). It runs on what clients send, before Default; an error
	// says that it is no object of its kind at all.
	Prune func(obj runtime.Object) (unknown []string, err error)
	// Restore mends an object read from the store, before Default: what an older
	// server may have written.
	Restore func(obj runtime.Object)
	// CacheKey, where it is not empty: a resource that takes the place of another
	// with the same keys and the same CacheKey decodes objects alike, and keeps
	// its cache and its watches. See the server's Publish.
	CacheKey string
	// Schema describes the kind for openapi where its Go type does not
	// (unstructured ones): without metadata, apiVersion and kind, which every kind
	// has. nil is a schema that says nothing. The caller owns the result.
	Schema func(v2 bool) *spec.Schema
	// MergeSchema says how the fields of this kind merge in server-side apply, in
	// all versions of it; nil means by the schema of the built-in types, or else by
	// the structure of the objects. It is asked for when it is first needed.
	MergeSchema func() (managedfields.TypeConverter, error)
	// Create serves POST of a resource that is not stored at all (a token
	// review, a binding): no other verb is served, the result is the answer with
	// status 201. Default, PrepareForCreate, admission, Validate and Warnings run
	// before it; the name may be empty and is not checked.
	Create CreateFunc
	// InvalidKind is what the errors of validation are said to be about; nil means GVK.
	// One without a kind names no object either, as upstream has it of reviews.
	InvalidKind *schema.GroupKind
	// Computed serves get and list of a resource that is not stored but found out when
	// it is asked for (component statuses): all there is of it. Verbs must be those
	// two. The objects are the caller's.
	Computed func(ctx context.Context) ([]runtime.Object, error)
}

// StoredForm is how a kind is stored, as upstream has it. It goes on storing an older
// version for a release after a new one is served, so that the release before can
// still read it. Objects of both versions are read, as JSON and as protobuf.
type StoredForm struct {
	Version string
	// JSON is written even though the type has protobuf.
	JSON bool
	// New makes an empty object of that version, To and From convert between it and the
	// served one, as those of StoredAs do. All are nil where the stored bytes of both
	// versions differ by nothing but the version's name.
	New      func() runtime.Object
	To, From func(obj runtime.Object) (runtime.Object, error)
}

// StoredAs names the resource whose objects another one shows, and converts
// between the two. The conversions do not change what they are given, and the
// result shares no memory that either side may later write to. They are nil where
// the resource has a Converter.
type StoredAs struct {
	Of         schema.GroupVersionResource
	FromStored func(stored runtime.Object) (runtime.Object, error)
	ToStored   func(obj runtime.Object) (runtime.Object, error)
}

// Converter converts objects of one kind between its versions, with what may take
// time or fail. It is safe for concurrent use.
type Converter interface {
	// ToVersion returns objs, each of any version of the kind, in the one given:
	// those that are of it already as they are, the others as new objects. What it
	// is given does not change. Its errors are API errors.
	ToVersion(ctx context.Context, objs []runtime.Object, to schema.GroupVersion) ([]runtime.Object, error)
}

// Request is what a strategy may know of the request that it serves.
type Request struct {
	User user.Info
	// Verb of the API: create, update, patch, delete, ...
	Verb            string
	Namespace, Name string
	Subresource     string
	DryRun          bool
	// Query are the parameters of the request's URL, for Connect sub-resources
	// (the options of log and exec travel there); nil elsewhere.
	Query url.Values
	// Path is what follows the sub-resource's name in the URL of a Connect
	// request, with its leading slash ("/metrics" of .../proxy/metrics) and that at
	// its end ("/logs/" of .../proxy/logs/).
	Path string
}

// Strategy is in what the writes of one resource differ from another's. Each nil
// function does nothing. On create they run in this order: Default, (mutating
// admission, then Default again), PrepareForCreate, Validate, Warnings,
// (validating admission), Begin; on update PrepareForUpdate in place of
// PrepareForCreate and ValidateUpdate beside Validate.
type Strategy struct {
	// Default fills the fields that the user left out. It also runs on objects
	// read from the store, so that fields newer than the object have values.
	Default func(obj runtime.Object)
	// PrepareForCreate clears what users may not set (status) and sets what
	// the server owns (generation 1).
	PrepareForCreate func(req Request, obj runtime.Object)
	// PrepareForUpdate carries over what this endpoint may not change (status),
	// and bumps metadata.generation where the desired state changed.
	PrepareForUpdate func(req Request, obj, old runtime.Object)
	// Validate checks one object by itself, with upstream's messages and paths.
	// Object metadata is checked by the server, with NameError for the name.
	Validate func(obj runtime.Object) field.ErrorList
	// ValidateUpdate checks the transition only: immutable fields. The server
	// runs Validate on the new object as well.
	ValidateUpdate func(obj, old runtime.Object) field.ErrorList
	// ValidateChange takes the place of Validate and ValidateUpdate on updates, for
	// kinds that forgive in an update what they do not in a new object.
	ValidateChange func(obj, old runtime.Object) field.ErrorList
	// ValidateAmong checks what depends on other objects, beside the functions
	// before; old is nil on create. It runs last, whatever they found.
	ValidateAmong func(ctx context.Context, obj, old runtime.Object, objects Objects) field.ErrorList
	// StandardFinalizers: a finalizer without a domain must be one of Kubernetes' own.
	StandardFinalizers bool
	// NameError lists what is wrong with a name (prefix: it is a generateName);
	// nil means the DNS-1123 subdomain rule.
	NameError func(name string, prefix bool) []string
	// Warnings go to the client in Warning headers; old is nil on create.
	Warnings func(obj, old runtime.Object) []string
	// Begin takes what an object holds outside of itself (a cluster IP, a node
	// port) just before it is written, and may change obj to name it; old is
	// nil on create, obj on delete. A dry run takes nothing for good. finish is
	// called once with what became of the write; it may be nil.
	Begin func(ctx context.Context, req Request, obj, old runtime.Object) (finish func(written bool), err error)

	// AllowCreateOnUpdate lets PUT create; AllowUnconditionalUpdate lets PUT
	// go without a resourceVersion (most built-in kinds allow it).
	AllowCreateOnUpdate      bool
	AllowUnconditionalUpdate bool

	// GracePeriod is how many seconds after a delete request the object stays,
	// marked with a deletionTimestamp; nil means 0: at once. It sees the grace
	// of opts and the object (a pod that no node runs goes at once).
	GracePeriod func(obj runtime.Object, opts *metav1.DeleteOptions) int64
	// ReturnsDeleted makes a DELETE that is done answer with the object's last
	// state in place of a Status, as upstream does for pods, services, service
	// accounts and a few more.
	ReturnsDeleted bool
	// PrepareForDelete changes an object that is marked for deletion but stays.
	PrepareForDelete func(obj runtime.Object)
	// Held says that an object marked for deletion must stay even though it has
	// no metadata.finalizers left (a namespace with spec.finalizers).
	Held func(obj runtime.Object) bool
	// DefaultPropagation where a delete request does not say; empty means
	// Background.
	DefaultPropagation metav1.DeletionPropagation

	// ResetFields are the fields that this endpoint ignores, so that no manager
	// comes to own them through it (status, on the main endpoint).
	ResetFields *fieldpath.Set
}

// Table is how kubectl get prints the resource.
type Table struct {
	// Columns as upstream's, Name first. Empty means Name and Age.
	Columns []metav1.TableColumnDefinition
	// Cells are the values of one row, as many as Columns; now is for ages.
	Cells func(obj runtime.Object, now time.Time) []any
}

// Subresource is a path below an object. Exactly one of View, Projection, Create
// and Connect is set.
type Subresource struct {
	// Name in the path: "status", "scale", "log".
	Name string
	// Verbs in discovery; nil means get, patch and update for View and
	// Projection, create for Create, and get and create for Connect.
	Verbs []string
	// GVK of the type that travels; empty means the resource's own.
	GVK schema.GroupVersionKind
	// New makes an empty one; nil means the resource's own.
	New func() runtime.Object

	View       *View
	Projection *Projection
	Create     CreateFunc
	Connect    ConnectFunc

	// Options makes an empty one of the type whose fields the query of a Connect
	// sub-resource has, where what travels is text (log). nil: the query's fields,
	// if any, are those of New.
	Options func() runtime.Object
}

// View is another way to write the same object: pods/status writes status and
// leaves spec alone. Its update runs the functions here in place of those of the
// resource's Strategy.
type View struct {
	PrepareForUpdate func(req Request, obj, old runtime.Object)
	// Validate sees the whole transition; the main Validate does not run.
	Validate func(obj, old runtime.Object) field.ErrorList
	// ValidateAmong is Strategy.ValidateAmong of this view.
	ValidateAmong func(ctx context.Context, obj, old runtime.Object, objects Objects) field.ErrorList
	ResetFields   *fieldpath.Set
}

// Projection shows an object as another type, and writes it back: scale.
type Projection struct {
	// Read makes the projected object, metadata included.
	Read func(obj runtime.Object) (runtime.Object, error)
	// Write changes obj as projected says; the resource's own update path
	// (PrepareForUpdate, Validate, ...) then runs on obj.
	Write func(obj, projected runtime.Object) error
	// Validate checks the projected object before it is written.
	Validate func(projected runtime.Object) field.ErrorList
	// ReplicasPath is the field of the object that a Scale's spec.replicas shows,
	// for who owns it; nil means spec.replicas.
	ReplicasPath []string
}

// CreateFunc serves POST on a sub-resource (binding, eviction, token). obj is the
// decoded, defaulted body; the result is what the client gets with status 201.
type CreateFunc func(ctx context.Context, req Request, obj runtime.Object, objects Objects) (runtime.Object, error)

// ConnectFunc answers with a handler that takes over the request (log, exec,
// attach, portforward, proxy). Its errors are API errors.
type ConnectFunc func(ctx context.Context, req Request, objects Objects) (http.Handler, error)

// Objects is the registry as a sub-resource sees it: past authorisation and
// admission, with everything else of the path in force. Of a resource with several
// versions it means the stored one. Errors are API errors.
type Objects interface {
	// Get reads an object of any served resource, as new as the last write that was
	// answered before. It is shared and read-only.
	Get(ctx context.Context, of schema.GroupResource, namespace, name string) (runtime.Object, error)
	// List reads all objects of a served resource in a namespace ("" means
	// all), shared and read-only.
	List(ctx context.Context, of schema.GroupResource, namespace string) ([]runtime.Object, error)
	// Update changes an object: change gets a copy that it may write to, and
	// runs again when another writer came first. It keeps the resource's status
	// and spec alike: no PrepareForUpdate runs. A dry run writes nothing.
	Update(ctx context.Context, req Request, of schema.GroupResource, namespace, name string, change func(obj runtime.Object) error) (runtime.Object, error)
	// Delete deletes as a DELETE request would.
	Delete(ctx context.Context, req Request, of schema.GroupResource, namespace, name string, opts *metav1.DeleteOptions) (runtime.Object, error)
}

// ListGVK is the kind of lists in full.
func (r *Resource) ListGVK() schema.GroupVersionKind {
	if r.ListKind != "" {
		return r.GVK.GroupVersion().WithKind(r.ListKind)
	}
	return r.GVK.GroupVersion().WithKind(r.GVK.Kind + "List")
}

// Invalid is the error of an object that validation finds fault with. What errs say
// twice, the error says once.
func (r *Resource) Invalid(name string, errs field.ErrorList) error {
	kind := r.GVK.GroupKind()
	if r.InvalidKind != nil {
		kind = *r.InvalidKind
	}
	if kind.Kind == "" {
		name = ""
	}
	said := make(map[string]bool, len(errs))
	once := errs[:0:0]
	for _, err := range errs {
		if text := err.Error(); !said[text] {
			said[text] = true
			once = append(once, err)
		}
	}
	return apierrors.NewInvalid(kind, name, once)
}

// GroupVersionResource names the resource in full.
func (r *Resource) GroupVersionResource() schema.GroupVersionResource {
	return r.GVK.GroupVersion().WithResource(r.Plural)
}

// GroupResource is the resource's name with its group.
func (r *Resource) GroupResource() schema.GroupResource {
	return schema.GroupResource{Group: r.GVK.Group, Resource: r.Plural}
}

// Subresource finds a sub-resource by name; nil where there is none.
func (r *Resource) Subresource(name string) *Subresource {
	for i := range r.Subresources {
		if r.Subresources[i].Name == name {
			return &r.Subresources[i]
		}
	}
	return nil
}
