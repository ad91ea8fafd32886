package apiserver

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"sigs.k8s.io/yaml"

	"github.com/strake-io/strake/apiserver/codec"
	"github.com/strake-io/strake/apiserver/registry"
)

// maxAuditID bounds the ID that a client gives its request.
const maxAuditID = 128

// auditID is what the client calls the request, such as a server before this one, or
// a new ID.
func (x *exchange) auditID() types.UID {
	if id := x.r.Header.Get(auditv1.HeaderAuditID); id != "" && len(id) <= maxAuditID {
		return types.UID(id)
	}
	return x.names.UID()
}

// beginAudit puts the request on record as soon as it is known who asks. One whose
// credentials were refused has one event, as upstream's.
func (x *exchange) beginAudit(start time.Time, refused error) {
	if x.auditor == nil {
		return
	}
	id := types.UID(x.w.Header().Get("Audit-Id"))
	x.audit = x.auditor.Begin(x.r, id, start, x.attributes())
	if x.audit == nil {
		return
	}
	if refused != nil {
		x.audit.Status(&metav1.Status{Message: credentials(x.r)})
	} else {
		x.audit.Stage(auditv1.StageRequestReceived, time.Now())
	}
	x.w.began = func(status int) {
		x.audit.Code(status)
		if refused != nil || x.longRunning() {
			x.audit.Stage(auditv1.StageResponseStarted, time.Now())
		}
	}
	x.audited = refused != nil
}

// credentials says by which means a client tried to show who it is.
func credentials(r *http.Request) string {
	var tried []string
	if _, _, basic := r.BasicAuth(); basic {
		tried = append(tried, "basic")
	}
	if kind, _, is := strings.Cut(strings.TrimSpace(r.Header.Get("Authorization")), " "); is && strings.EqualFold(kind, "bearer") {
		tried = append(tried, "bearer")
	}
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		tried = append(tried, "x509")
	}
	if len(tried) == 0 {
		return "Authentication failed, no credentials provided"
	}
	return "Authentication failed, attempted: " + strings.Join(tried, ", ")
}

// endAudit closes the record.
func (x *exchange) endAudit() {
	if x.audit == nil || x.audited {
		return
	}
	if x.w.status == 0 {
		x.audit.Status(&metav1.Status{Code: http.StatusOK, Status: metav1.StatusSuccess, Message: "Connection closed early"})
		if x.longRunning() {
			x.audit.Stage(auditv1.StageResponseStarted, time.Now())
		}
	}
	x.audit.Stage(auditv1.StageResponseComplete, time.Now())
}

// auditPanic is the stage of a request whose handler failed the server.
func (x *exchange) auditPanic(p any) {
	x.audit.Status(&metav1.Status{
		Code: http.StatusInternalServerError, Status: metav1.StatusFailure, Reason: metav1.StatusReasonInternalError,
		Message: fmt.Sprintf("APIServer panic'd: %v", p),
	})
	x.audit.Stage(auditv1.StagePanic, time.Now())
	x.audited = true
}

// authoriseRequest authorises the request itself, and records the decision.
func (x *exchange) authoriseRequest() error {
	reason, err := x.decide(x.attributes())
	switch {
	case err == nil:
		x.audit.Annotate("authorization.k8s.io/decision", "allow")
	case apierrors.IsForbidden(err):
		x.audit.Annotate("authorization.k8s.io/decision", "forbid")
	default:
		reason = "internal error"
	}
	x.audit.Annotate("authorization.k8s.io/reason", reason)
	return err
}

// auditRequest records the object in the request's body.
func (x *exchange) auditRequest(gvk schema.GroupVersionKind, obj runtime.Object) {
	if x.audit != nil {
		x.audit.Request(codec.WithKind(obj, gvk), asJSON)
	}
}

// auditPatch records the patch in the request's body.
func (x *exchange) auditPatch(body []byte) {
	if !x.audit.Keeps(auditv1.LevelRequest) {
		return
	}
	// An applied configuration may be YAML; what is neither is refused soon.
	if data, err := yaml.YAMLToJSON(body); err == nil {
		x.audit.Body(data)
	}
}

// auditAnswer records an object that the request is answered with. What is answered
// outside of resources is not recorded but for failures.
func (x *exchange) auditAnswer(gvk schema.GroupVersionKind, obj runtime.Object) {
	if x.audit == nil {
		return
	}
	if _, failed := obj.(*metav1.Status); !failed && !x.info.IsResource {
		return
	}
	if !gvk.Empty() {
		obj = codec.WithKind(obj, gvk)
	}
	x.audit.Response(obj, asJSON)
}

// auditPage records a list, whichever view of it is shown.
func (x *exchange) auditPage(page *registry.Page, of metav1.ListMeta) {
	if !x.audit.Keeps(auditv1.LevelRequestResponse) {
		return
	}
	items := make([]runtime.Object, len(page.Entries))
	for i, entry := range page.Entries {
		items[i] = entry.Object
	}
	list := x.resource.NewList()
	accessor, err := meta.ListAccessor(list)
	if err == nil {
		err = meta.SetList(list, items)
	}
	if err != nil {
		x.config.Logger.Error(err, "A list could not be recorded", "path", x.info.Path)
		return
	}
	accessor.SetResourceVersion(of.ResourceVersion)
	accessor.SetContinue(of.Continue)
	accessor.SetRemainingItemCount(of.RemainingItemCount)
	x.auditAnswer(listKind(x.resource), list)
}

func asJSON(obj runtime.Object) ([]byte, error) {
	return codec.Encode(codec.Output{Media: codec.JSON}, obj)
}
