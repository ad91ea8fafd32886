package webhook

import (
	"context"
	"encoding/json"
	"fmt"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	admissionreview "k8s.io/api/admission/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/strake-io/strake/apiserver/admission"
	"github.com/strake-io/strake/apiserver/admission/match"
)

// round is what one write remembers of its mutating webhooks.
type round struct {
	// called are those that may be called again, needed those that shall.
	called, needed map[string]bool
	after          runtime.Object // the object as the last of them left it
}

type roundKey struct{}

func (r *round) changed() {
	for key := range r.called {
		r.needed[key] = true
	}
	clear(r.called)
}

// Admit implements admission.Mutator.
func (m *Mutating) Admit(ctx context.Context, a *admission.Attributes) error {
	hooks, err := m.known.hooks(ctx, a)
	if err != nil || len(hooks) == 0 || match.ExemptFromWebhooks(a) {
		return err
	}
	r, _ := a.Remembered(roundKey{}).(*round)
	if r == nil {
		r = &round{called: map[string]bool{}, needed: map[string]bool{}}
		a.Remember(roundKey{}, r)
	}
	if a.Reinvoked() && len(r.called) > 0 && !apiequality.Semantic.DeepEqual(r.after, a.Object) {
		// Somebody changed it after all webhooks had seen it.
		r.changed()
	}
	for i := range hooks {
		h := &hooks[i]
		// One that was not called before is not called now.
		if a.Reinvoked() && !r.needed[h.key()] {
			continue
		}
		as, matched, err := m.config.matches(ctx, a, h)
		if err != nil {
			return err
		}
		if !matched {
			continue
		}
		changed, err := m.mutate(ctx, a, h, as, i)
		if err != nil {
			return err
		}
		if changed {
			r.changed()
			a.Reinvoke()
		}
		if h.again {
			r.called[h.key()] = true
		}
	}
	if len(r.called) > 0 && a.Object != nil {
		r.after = a.Object.DeepCopyObject()
	}
	return nil
}

// mutate asks one webhook, the index-th, and does to the object what it says.
func (m *Mutating) mutate(ctx context.Context, a *admission.Attributes, h *hook, as admission.Served, index int) (changed bool, err error) {
	place := fmt.Sprintf("mutation.webhook.admission.k8s.io/round_%d_index_%d", boolToInt(a.Reinvoked()), index)
	defer func() {
		a.Audit(place, fmt.Sprintf(`{"configuration":%q,"webhook":%q,"mutated":%v}`, h.configuration, h.name, changed))
	}()
	shown, response, err := m.config.ask(ctx, a, h, as, true)
	if err == nil && len(response.Patch) == 0 {
		return false, nil
	}
	var patched []byte
	if err == nil {
		patched, err = h.patch(a, shown, response)
	}
	if err != nil {
		return false, h.outcome(ctx, a, err, "failed-open."+place)
	}
	if patched == nil {
		return false, nil
	}
	obj, err := a.Catalog.Decode(as.Kind, patched)
	if err != nil {
		return false, apierrors.NewInternalError(err)
	}
	if obj, err = a.Catalog.Convert(ctx, obj, as.Kind, a.Kind); err != nil {
		return false, err
	}
	changed = !apiequality.Semantic.DeepEqual(obj, a.Object)
	if changed {
		a.Object = obj
	}
	return changed, nil
}

// maxOperations bounds the patch of a webhook, as that of a request.
const maxOperations = 10_000

// patch is the object, in JSON, as the response changes it; nil where it does not.
func (h *hook) patch(a *admission.Attributes, shown runtime.Object, response *admissionreview.AdmissionResponse) ([]byte, error) {
	operations, err := jsonpatch.DecodePatch(response.Patch)
	if err != nil {
		return nil, fmt.Errorf("received undecodable patch in webhook response: %w", err)
	}
	if len(operations) == 0 {
		return nil, nil
	}
	if len(operations) > maxOperations {
		return nil, fmt.Errorf("received a patch of %d operations in webhook response, more than %d", len(operations), maxOperations)
	}
	if a.Object == nil {
		return nil, refused{apierrors.NewInternalError(fmt.Errorf("admission webhook %q attempted to modify the object, which is not supported for this operation", h.name))}
	}
	if kind := *response.PatchType; kind != admissionreview.PatchTypeJSONPatch {
		return nil, fmt.Errorf("unsupported patch type %q", kind)
	}
	data, err := json.Marshal(shown)
	if err != nil {
		return nil, refused{apierrors.NewInternalError(err)}
	}
	if data, err = operations.Apply(data); err != nil {
		return nil, refused{apierrors.NewInternalError(err)}
	}
	return data, nil
}

func boolToInt(b bool) int {
	if b {
		return 1
	}
	return 0
}
