package aggregation

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"

	"github.com/strake-io/strake/apiserver/discovery"
	"github.com/strake-io/strake/apiserver/resources/apiregistration"
)

// managedLabel marks the APIServices that are kept for the server's own group
// versions: those of its configuration are looked after once, when the server
// starts, so that users may change them; those of custom resources always.
const (
	managedLabel = "kube-aggregator.kubernetes.io/automanaged"
	onStart      = "onstart"
	always       = "true"
)

// registration remembers what was done about the managed APIServices.
type registration struct {
	// present are those that there were when the server started; nil before.
	present map[string]bool
	// synced are those that were once as they should be.
	synced map[string]bool
}

func (r *registration) start(known map[string]*apiregistrationv1.APIService) {
	if r.present != nil {
		return
	}
	r.present = make(map[string]bool, len(known))
	for name := range known {
		r.present[name] = true
	}
}

// local is the APIService of a group version that the server serves itself.
func local(gv schema.GroupVersion, managed string) *apiregistrationv1.APIService {
	priority := discovery.PriorityOf(gv)
	return &apiregistrationv1.APIService{
		ObjectMeta: metav1.ObjectMeta{Name: gv.Version + "." + gv.Group, Labels: map[string]string{managedLabel: managed}},
		Spec: apiregistrationv1.APIServiceSpec{
			Group: gv.Group, Version: gv.Version, GroupPriorityMinimum: priority.Group, VersionPriority: priority.Version,
		},
	}
}

type action int

const (
	nothing action = iota
	create
	update
	remove
)

// decide what to do about one APIService; either may be nil.
//
//	                                            want none  want it once    want it always
//	there is none                               -          create once     create
//	there is one that is not managed            -          -               -
//	one managed on start, made since            -          -               -
//	one managed on start, there at the start    remove     update once     update once
//	one managed always                          remove     update once     update
func (r *registration) decide(is, want *apiregistrationv1.APIService, name string) action {
	managed := ""
	if is != nil {
		managed = is.Labels[managedLabel]
	}
	once := want != nil && want.Labels[managedLabel] == onStart
	switch {
	case is == nil && want == nil, once && r.synced[name]:
		return nothing
	case is == nil:
		return create
	case managed != onStart && managed != always, managed == onStart && (!r.present[name] || r.synced[name]):
		return nothing
	case want == nil:
		return remove
	case is.Spec.Service == nil && is.Spec.GroupPriorityMinimum == want.Spec.GroupPriorityMinimum && is.Spec.VersionPriority == want.Spec.VersionPriority:
		return nothing
	}
	return update
}

// reconcileLocal keeps the APIServices of the server's own group versions. It
// reports whether something has to be tried again.
func (a *Aggregator) reconcileLocal(ctx context.Context, fixed, published []schema.GroupVersion) (retry bool) {
	want := map[string]*apiregistrationv1.APIService{}
	for _, gv := range fixed {
		if gv.Group != apiregistrationv1.GroupName {
			s := local(gv, onStart)
			want[s.Name] = s
		}
	}
	for _, gv := range published {
		s := local(gv, always)
		want[s.Name] = s
	}
	names := map[string]bool{}
	for name := range want {
		names[name] = true
	}
	for name := range a.known {
		names[name] = true
	}
	for name := range names {
		is := a.known[name]
		err := a.act(ctx, a.managed.decide(is, want[name], name), is, want[name])
		if err != nil && ctx.Err() == nil {
			a.config.Logger.Error(err, "Could not register a group version", "name", name)
			retry = true
			continue
		}
		if err == nil {
			a.managed.synced[name] = true
		}
		if is = a.known[name]; is != nil && is.Spec.Service == nil {
			retry = a.writeCondition(ctx, is, apiregistration.LocalCondition(time.Now())) || retry
		}
	}
	return retry
}

func (a *Aggregator) act(ctx context.Context, do action, is, want *apiregistrationv1.APIService) error {
	var err error
	var made *apiregistrationv1.APIService
	switch do {
	case create:
		if made, err = a.config.Client.Create(ctx, want, metav1.CreateOptions{}); err == nil {
			a.known[made.Name] = made
		}
	case update:
		next := is.DeepCopy()
		next.Spec = want.Spec
		if made, err = a.config.Client.Update(ctx, next, metav1.UpdateOptions{}); err == nil {
			a.known[made.Name] = made
		}
	case remove:
		opts := metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(is.UID))}
		if err = a.config.Client.Delete(ctx, is.Name, opts); err == nil {
			delete(a.known, is.Name)
		}
	}
	if apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil // it changed meanwhile: the watch says how
	}
	return err
}
