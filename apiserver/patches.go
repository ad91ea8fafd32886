package apiserver

import (
	"fmt"
	"mime"
	"net/http"

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
	out, err := x.accepts(x.offer())
	if err != nil {
		return err
	}
	kind, opts, body, err := x.readPatch()
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

// readPatch reads the patch, its kind and its options.
func (x *exchange) readPatch() (types.PatchType, writeOptions, []byte, error) {
	media, _, err := mime.ParseMediaType(x.r.Header.Get("Content-Type"))
	kind := types.PatchType(media)
	switch kind {
	case types.JSONPatchType, types.MergePatchType, types.StrategicMergePatchType, types.ApplyYAMLPatchType:
	default:
		err = http.ErrNotSupported
	}
	if err != nil {
		return "", writeOptions{}, nil, &apierrors.StatusError{ErrStatus: metav1.Status{
			Status: metav1.StatusFailure, Code: http.StatusUnsupportedMediaType, Reason: metav1.StatusReasonUnsupportedMediaType,
			Message: "the body of the request was in an unknown format - accepted media types include: " +
				"application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml",
		}}
	}
	var given metav1.PatchOptions
	if err := metav1.Convert_url_Values_To_v1_PatchOptions(&x.query, &given, nil); err != nil {
		return "", writeOptions{}, nil, apierrors.NewBadRequest(err.Error())
	}
	if err := invalidOptions("PatchOptions", validation.ValidatePatchOptions(&given, kind)); err != nil {
		return "", writeOptions{}, nil, err
	}
	body, err := x.readBody()
	if err != nil {
		return "", writeOptions{}, nil, err
	}
	if kind == types.StrategicMergePatchType && selfDescribing(x.resource.New()) {
		return "", writeOptions{}, nil, &apierrors.StatusError{ErrStatus: metav1.Status{
			Status: metav1.StatusFailure, Code: http.StatusUnsupportedMediaType, Reason: metav1.StatusReasonUnsupportedMediaType,
			Message: "the body of the request was in an unknown format - accepted media types include: " +
				"application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
		}}
	}
	return kind, x.writeOptions(given.DryRun, given.FieldManager, given.FieldValidation, given.Force), body, nil
}

// patched is what a patch makes of an object, defaulted.
func (x *exchange) patched(kind types.PatchType, opts writeOptions, body []byte, old runtime.Object, gvk schema.GroupVersionKind, make func() runtime.Object) (runtime.Object, error) {
	var obj runtime.Object
	var shown string
	var duplicates []error
	var undecoded error
	if old = codec.WithKind(old, gvk); kind == types.StrategicMergePatchType {
		doc, err := runtime.DefaultUnstructuredConverter.ToUnstructured(old)
		if err != nil {
			return nil, apierrors.NewInternalError(err)
		}
		result, change, doubled, err := patch.Strategic(doc, body, make())
		if err != nil {
			return nil, err
		}
		obj, shown, duplicates = make(), fmt.Sprintf("%+v", change), doubled
		undecoded = runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(result, obj, opts.validation != metav1.FieldValidationIgnore)
	} else {
		doc, err := codec.Item(codec.JSON, old)
		if err != nil {
			return nil, apierrors.NewInternalError(err)
		}
		apply := patch.Merge
		if kind == types.JSONPatchType {
			apply = patch.JSON
		}
		result, doubled, err := apply(doc, body)
		if err != nil {
			return nil, err
		}
		shown, duplicates = string(result), doubled
		obj, _, undecoded = x.codec.Decode(codec.JSON, result, gvk, make(), opts.validation != metav1.FieldValidationIgnore)
		if obj != nil && obj.GetObjectKind().GroupVersionKind() == gvk {
			undecoded = x.prune(obj, gvk, undecoded)
		}
	}
	if err := x.unclean(opts, duplicates, undecoded, shown); err != nil {
		return nil, err
	}
	if actual := obj.GetObjectKind().GroupVersionKind(); actual != gvk {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("a patch cannot make %s of %s", actual, gvk))
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
	for _, m := range mistakes {
		x.warn(m.Error())
	}
	return nil
}

// applyPatch is server-side apply: the body is the part of the object that the
// manager wants to own.
func (x *exchange) applyPatch(write registry.Write, opts writeOptions, body []byte) (registry.Change, error) {
	wanted, err := x.decodeApply(body, x.resource.GVK, x.resource.New, opts.validation)
	if err != nil {
		return registry.Change{}, err
	}
	merge := func(live runtime.Object) (runtime.Object, error) {
		return x.registry.Merge(write, live, wanted.DeepCopy(), opts.force)
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
		created, err := meta.Accessor(obj)
		if err != nil {
			return nil, apierrors.NewInternalError(err)
		}
		if created.GetUID() != "" {
			return nil, apierrors.NewConflict(x.resource.GroupResource(), x.info.Name, errUIDGiven)
		}
		return obj, nil
	}
	return change, nil
}

// decodeApply reads an apply configuration: YAML or JSON of a part of the object.
func (x *exchange) decodeApply(body []byte, want schema.GroupVersionKind, make func() runtime.Object, fieldValidation string) (*unstructured.Unstructured, error) {
	data, err := yaml.YAMLToJSON(body)
	if err != nil {
		return nil, apierrors.NewBadRequest("error decoding YAML: " + err.Error())
	}
	content := map[string]any{}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(data, &content); err != nil {
		return nil, apierrors.NewBadRequest("error decoding YAML: " + err.Error())
	}
	wanted := &unstructured.Unstructured{Object: content}
	if gvk := wanted.GroupVersionKind(); gvk != want {
		return nil, apierrors.NewBadRequest("apply configuration is of " + gvk.String() + ", expected " + want.String())
	}
	if name := wanted.GetName(); name != "" && name != x.info.Name {
		return nil, apierrors.NewBadRequest("the name of the object (" + name + ") does not match the name on the URL (" + x.info.Name + ")")
	}
	if namespace := wanted.GetNamespace(); namespace != "" && namespace != x.namespace() {
		return nil, apierrors.NewBadRequest("the namespace of the object (" + namespace + ") does not match the namespace on the request (" + x.namespace() + ")")
	}
	if fieldValidation != metav1.FieldValidationIgnore && !selfDescribing(make()) {
		// The merge refuses what the schema does not know; this finds what is
		// named twice, and gives unknown fields the words of strict decoding.
		if _, err := x.decode(codec.YAML, body, want, make(), fieldValidation); err != nil {
			return nil, err
		}
	}
	return wanted, nil
}
