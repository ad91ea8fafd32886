package apiserver

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/strake-io/strake/apiserver/codec"
	"github.com/strake-io/strake/apiserver/patch"
	"github.com/strake-io/strake/apiserver/registry"
)

func (x *exchange) patch() error {
	kind, err := x.patchType()
	if err != nil {
		return err
	}
	out, err := x.accepts(x.offer())
	if err != nil {
		return err
	}
	opts, body, err := x.readPatch(kind)
	if err != nil {
		return err
	}
	write := x.write("patch", opts)
	var change registry.Change
	if kind == types.ApplyYAMLPatchType {
		if change, err = x.applyPatch(write, opts, body); err != nil {
			return err
		}
	} else {
		change.To = func(old runtime.Object) (runtime.Object, error) {
			return x.patched(kind, opts, body, old, x.resource.GVK, x.resource.New)
		}
	}
	if x.sub != nil {
		change.View = x.sub.View
		change.Create = nil
	}
	obj, created, err := x.registry.Update(x.r.Context(), write, change)
	if err != nil {
		return err
	}
	code := http.StatusOK
	if created {
		code = http.StatusCreated
	}
	return x.sendWritten(code, out, obj)
}

// patchType is the kind of patch that the body is.
func (x *exchange) patchType() (types.PatchType, error) {
	media, _, _ := strings.Cut(x.r.Header.Get("Content-Type"), ";")
	known := []string{
		string(types.JSONPatchType), string(types.MergePatchType), string(types.StrategicMergePatchType), string(types.ApplyYAMLPatchType),
	}
	if selfDescribing(x.resource.New()) {
		// Nothing says how the lists of such objects merge.
		known = slices.Delete(known, 2, 3)
	}
	if !slices.Contains(known, media) {
		if x.routed() {
			return "", unrouted(http.StatusUnsupportedMediaType, "415: Unsupported Media Type")
		}
		return "", unsupportedMedia(known...)
	}
	return types.PatchType(media), nil
}

// readPatch reads the patch and its options.
func (x *exchange) readPatch(kind types.PatchType) (writeOptions, []byte, error) {
	body, err := x.readBody()
	if err != nil {
		return writeOptions{}, nil, err
	}
	var given metav1.PatchOptions
	if err := metav1.Convert_url_Values_To_v1_PatchOptions(&x.query, &given, nil); err != nil {
		return writeOptions{}, nil, apierrors.NewBadRequest(err.Error())
	}
	if err := invalidOptions("PatchOptions", validation.ValidatePatchOptions(&given, kind)); err != nil {
		return writeOptions{}, nil, err
	}
	if kind != types.ApplyYAMLPatchType && !json.Valid(body) {
		return writeOptions{}, nil, apierrors.NewBadRequest("invalid JSON patch")
	}
	x.auditPatch(body)
	return x.writeOptions(given.DryRun, given.FieldManager, given.FieldValidation, given.Force), body, nil
}

// patched is what a patch makes of an object, defaulted.
func (x *exchange) patched(kind types.PatchType, opts writeOptions, body []byte, old runtime.Object, gvk schema.GroupVersionKind, make func() runtime.Object) (runtime.Object, error) {
	var obj runtime.Object
	var shown string
	var duplicates []error
	var undecoded error
	strict := opts.validation != metav1.FieldValidationIgnore
	if old = codec.WithKind(old, gvk); kind == types.StrategicMergePatchType {
		doc, err := runtime.DefaultUnstructuredConverter.ToUnstructured(old)
		if err != nil {
			return nil, apierrors.NewInternalError(err)
		}
		result, change, doubled, err := patch.Strategic(doc, body, make(), strict)
		if err != nil {
			return nil, err
		}
		obj, shown, duplicates = make(), fmt.Sprintf("%+v", change), doubled
		undecoded = runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(result, obj, strict)
		// The Go type is the kind here, whatever the patch says of it.
		obj.GetObjectKind().SetGroupVersionKind(gvk)
	} else {
		doc, err := codec.Item(codec.JSON, old)
		if err != nil {
			return nil, apierrors.NewInternalError(err)
		}
		apply := patch.Merge
		if kind == types.JSONPatchType {
			apply = patch.JSON
		}
		result, doubled, err := apply(doc, body, strict)
		if err != nil {
			return nil, err
		}
		shown, duplicates = string(result), doubled
		obj, _, undecoded = x.codec.Decode(codec.JSON, result, gvk, make(), strict)
		if obj != nil && obj.GetObjectKind().GroupVersionKind() == gvk {
			undecoded = x.prune(obj, gvk, undecoded)
		}
	}
	if undecoded == nil || runtime.IsStrictDecodingError(undecoded) {
		if actual := obj.GetObjectKind().GroupVersionKind(); actual != gvk {
			undecoded = otherKind(actual, gvk)
		}
	}
	if err := x.unclean(opts, duplicates, undecoded, shown); err != nil {
		return nil, err
	}
	if !selfDescribing(obj) {
		obj.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
	}
	if x.resource.Default != nil && gvk == x.resource.GVK {
		x.resource.Default(obj)
	}
	return obj, nil
}

// unclean is the error of a patch whose result is not an object of its kind, or,
// as far as the client minds, has fields that it should not have. shown is what
// the client is shown of it.
func (x *exchange) unclean(opts writeOptions, duplicates []error, undecoded error, shown string) error {
	invalid := func(err error) error {
		return apierrors.NewInvalid(schema.GroupKind{}, "", field.ErrorList{field.Invalid(field.NewPath("patch"), shown, err.Error())})
	}
	strict, isStrict := runtime.AsStrictDecodingError(undecoded)
	if undecoded != nil && !isStrict {
		return invalid(undecoded)
	}
	if opts.validation == metav1.FieldValidationIgnore {
		return nil
	}
	mistakes := duplicates
	if isStrict {
		mistakes = append(mistakes, strict.Errors()...)
	}
	if len(mistakes) > 0 && opts.validation == metav1.FieldValidationStrict {
		return invalid(runtime.NewStrictDecodingError(mistakes))
	}
	x.warnStrict(mistakes)
	return nil
}

// applyPatch is server-side apply: the body is the part of the object that the
// manager wants to own.
func (x *exchange) applyPatch(write registry.Write, opts writeOptions, body []byte) (registry.Change, error) {
	wanted, err := x.decodeApply(body, x.resource.GVK)
	if err != nil {
		return registry.Change{}, err
	}
	merge := func(live runtime.Object) (runtime.Object, error) {
		obj, err := x.registry.Merge(write, live, wanted.DeepCopy(), opts.force)
		if err != nil {
			return nil, err
		}
		return obj, x.namedTwice(body, opts)
	}
	change := registry.Change{Applied: true, To: merge, MayCreate: x.mayCreate}
	if x.sub != nil {
		return change, nil
	}
	change.Create = func() (runtime.Object, error) {
		empty := x.resource.New()
		accessor, err := meta.Accessor(empty)
		if err != nil {
			return nil, apierrors.NewInternalError(err)
		}
		accessor.SetName(x.info.Name)
		accessor.SetNamespace(x.namespace())
		obj, err := merge(empty)
		if err != nil {
			return nil, err
		}
		return obj, x.appliedHere(obj)
	}
	return change, nil
}

// appliedHere checks that what an apply configuration makes is at the URL's place.
func (x *exchange) appliedHere(obj runtime.Object) error {
	accessor, err := meta.Accessor(obj)
	if err != nil {
		return apierrors.NewInternalError(err)
	}
	if namespace := accessor.GetNamespace(); x.resource.Namespaced && namespace != x.namespace() {
		return registry.NamespaceMismatch()
	}
	return x.nameInBody(obj)
}

// decodeApply reads an apply configuration: YAML or JSON of a part of the object.
// What its fields are, the merge finds out.
func (x *exchange) decodeApply(body []byte, want schema.GroupVersionKind) (*unstructured.Unstructured, error) {
	data, err := yaml.YAMLToJSON(body)
	if err != nil {
		return nil, apierrors.NewBadRequest("error encoding patch: " + err.Error())
	}
	content := map[string]any{}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(data, &content); err != nil {
		return nil, apierrors.NewBadRequest("error decoding patch: " + err.Error())
	}
	wanted := &unstructured.Unstructured{Object: content}
	if gvk := wanted.GroupVersionKind(); gvk.GroupVersion() == want.GroupVersion() && gvk.Kind != want.Kind {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("the kind in the patch (%s) does not match the expected kind (%s)", gvk.Kind, want.Kind))
	}
	return wanted, nil
}

// namedTwice finds what an apply configuration names twice, where the client minds.
func (x *exchange) namedTwice(body []byte, opts writeOptions) error {
	if opts.validation == metav1.FieldValidationIgnore {
		return nil
	}
	err := yaml.UnmarshalStrict(body, &map[string]any{})
	switch {
	case err == nil:
	case opts.validation == metav1.FieldValidationStrict:
		return apierrors.NewBadRequest("error strict decoding patch: " + err.Error())
	default:
		x.warnStrict([]error{err})
	}
	return nil
}
