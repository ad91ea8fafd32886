package audit

import (
	"net/http"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/strake-io/strake/apiserver/authn"
)

// maxUserAgent is how much is kept of what a client calls itself.
const maxUserAgent = 1024

// Record is what is kept of one request. All methods may be called on a nil Record,
// which keeps nothing, and at any time, by several goroutines.
type Record struct {
	auditor  *Auditor
	decision decision

	mu    sync.Mutex
	event auditv1.Event
}

// Begin starts the record of a request that was received at a time. The result is nil
// where the policy keeps nothing of it.
func (a *Auditor) Begin(r *http.Request, id types.UID, received time.Time, of authorizer.Attributes) *Record {
	if a == nil {
		return nil
	}
	d := a.policy.decide(of)
	a.levels.WithLabelValues(string(d.level)).Inc()
	if d.level == auditv1.LevelNone {
		return nil
	}
	record := &Record{auditor: a, decision: d, event: auditv1.Event{
		TypeMeta: metav1.TypeMeta{APIVersion: auditv1.SchemeGroupVersion.String(), Kind: "Event"},
		Level:    d.level, AuditID: id, RequestURI: r.URL.RequestURI(), Verb: of.GetVerb(), UserAgent: r.UserAgent(),
		RequestReceivedTimestamp: metav1.NewMicroTime(received),
	}}
	event := &record.event
	if len(event.UserAgent) > maxUserAgent {
		event.UserAgent = event.UserAgent[:maxUserAgent] + "...TRUNCATED"
	}
	for _, ip := range utilnet.SourceIPs(r) {
		event.SourceIPs = append(event.SourceIPs, ip.String())
	}
	if who := of.GetUser(); who != nil {
		event.User = authn.UserInfo(who)
	}
	if of.IsResourceRequest() {
		event.ObjectRef = &auditv1.ObjectReference{
			Resource: of.GetResource(), Subresource: of.GetSubresource(), Namespace: of.GetNamespace(), Name: of.GetName(),
			APIGroup: of.GetAPIGroup(), APIVersion: of.GetAPIVersion(),
		}
	}
	return record
}

// Stage ends a stage of the request: the sinks get an event with what is known by now.
func (r *Record) Stage(stage auditv1.Stage, now time.Time) {
	if r == nil || slices.Contains(r.decision.omit, stage) {
		return
	}
	r.mu.Lock()
	event := r.event.DeepCopy()
	r.mu.Unlock()
	event.Stage, event.StageTimestamp = stage, metav1.NewMicroTime(now)
	r.auditor.write(event)
}

// Annotate adds what a part of the server found out. The first value of a key stays.
func (r *Record) Annotate(key, value string) {
	r.change(func(event *auditv1.Event) {
		if event.Annotations == nil {
			event.Annotations = map[string]string{}
		}
		if _, has := event.Annotations[key]; !has {
			event.Annotations[key] = value
		}
	})
}

// Impersonate says as whom the request goes on, and by which of the verbs that allow
// only some requests; "" is the verb that allows all.
func (r *Record) Impersonate(who user.Info, constraint string) {
	r.change(func(event *auditv1.Event) {
		info := authn.UserInfo(who)
		event.ImpersonatedUser = &info
		if constraint != "" {
			event.AuthenticationMetadata = &auditv1.AuthenticationMetadata{ImpersonationConstraint: constraint}
		}
	})
}

// Code is the status of the answer.
func (r *Record) Code(code int) {
	r.change(func(event *auditv1.Event) {
		if event.ResponseStatus == nil {
			event.ResponseStatus = &metav1.Status{}
		}
		event.ResponseStatus.Code = int32(code)
	})
}

// Status is the answer of a request that failed.
func (r *Record) Status(status *metav1.Status) {
	r.change(func(event *auditv1.Event) {
		event.ResponseStatus = &metav1.Status{
			Status: status.Status, Message: status.Message, Reason: status.Reason, Details: status.Details, Code: status.Code,
		}
	})
}

// Body keeps a request's body that is JSON already, such as a patch.
func (r *Record) Body(json []byte) {
	if r.Keeps(auditv1.LevelRequest) {
		r.change(func(event *auditv1.Event) { event.RequestObject = unknown(json) })
	}
}

// Request keeps the object that a request brings.
func (r *Record) Request(obj runtime.Object, encode func(runtime.Object) ([]byte, error)) {
	if r == nil {
		return
	}
	r.refer(obj)
	if r.Keeps(auditv1.LevelRequest) {
		r.object(obj, encode, func(event *auditv1.Event, data *runtime.Unknown) { event.RequestObject = data })
	}
}

// Response keeps the object that a request is answered with.
func (r *Record) Response(obj runtime.Object, encode func(runtime.Object) ([]byte, error)) {
	if status, is := obj.(*metav1.Status); is && r != nil {
		r.Status(status)
	}
	if r.Keeps(auditv1.LevelRequestResponse) {
		r.object(obj, encode, func(event *auditv1.Event, data *runtime.Unknown) { event.ResponseObject = data })
	}
}

// Keeps says that a level is kept of the request.
func (r *Record) Keeps(level auditv1.Level) bool {
	return r != nil && slices.Index(levels, r.decision.level) >= slices.Index(levels, level)
}

// refer completes the reference to the object by what the object says of itself.
func (r *Record) refer(obj runtime.Object) {
	accessor, err := meta.Accessor(obj)
	if err != nil {
		return
	}
	r.change(func(event *auditv1.Event) {
		ref := event.ObjectRef
		if ref == nil {
			return
		}
		if ref.Namespace == "" {
			ref.Namespace = accessor.GetNamespace()
		}
		if ref.Name == "" {
			ref.Name = accessor.GetName()
		}
		if ref.UID == "" {
			ref.UID = accessor.GetUID()
		}
		if ref.ResourceVersion == "" {
			ref.ResourceVersion = accessor.GetResourceVersion()
		}
	})
}

func (r *Record) object(obj runtime.Object, encode func(runtime.Object) ([]byte, error), keep func(*auditv1.Event, *runtime.Unknown)) {
	if !r.decision.managedFields {
		obj = withoutManagedFields(obj)
	}
	data, err := encode(obj)
	if err != nil {
		r.auditor.log.Error(err, "An object could not be kept in the audit log", "auditID", r.event.AuditID)
		return
	}
	r.change(func(event *auditv1.Event) { keep(event, unknown(data)) })
}

func (r *Record) change(with func(event *auditv1.Event)) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	with(&r.event)
}

func unknown(json []byte) *runtime.Unknown {
	return &runtime.Unknown{Raw: slices.Clone(json), ContentType: runtime.ContentTypeJSON}
}

// withoutManagedFields is an object, or a list of objects, without them.
func withoutManagedFields(obj runtime.Object) runtime.Object {
	if meta.IsListType(obj) {
		obj = obj.DeepCopyObject()
		// What is no object has no managed fields.
		_ = meta.EachListItem(obj, func(item runtime.Object) error {
			if accessor, err := meta.Accessor(item); err == nil {
				accessor.SetManagedFields(nil)
			}
			return nil
		})
		return obj
	}
	accessor, err := meta.Accessor(obj)
	if err != nil || len(accessor.GetManagedFields()) == 0 {
		return obj
	}
	obj = obj.DeepCopyObject()
	if accessor, err = meta.Accessor(obj); err == nil {
		accessor.SetManagedFields(nil)
	}
	return obj
}
