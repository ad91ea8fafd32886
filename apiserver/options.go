package apiserver

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"unicode"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	internalvalidation "k8s.io/apimachinery/pkg/apis/meta/internalversion/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/strake-io/strake/apiserver/codec"
	"github.com/strake-io/strake/apiserver/registry"
)

func invalidOptions(kind string, errs field.ErrorList) error {
	if len(errs) == 0 {
		return nil
	}
	return apierrors.NewInvalid(schema.GroupKind{Group: metav1.GroupName, Kind: kind}, "", errs)
}

// listOptions reads the query of a list, a watch or a deletecollection.
func (x *exchange) listOptions() (*internalversion.ListOptions, error) {
	var versioned metav1.ListOptions
	if err := metav1.Convert_url_Values_To_v1_ListOptions(&x.query, &versioned, nil); err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	var opts internalversion.ListOptions
	if err := internalversion.Convert_v1_ListOptions_To_internalversion_ListOptions(&versioned, &opts, nil); err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	if x.info.Verb == "watch" && !x.info.DeprecatedWatch {
		opts.Watch = true
	}
	internalversion.SetListOptionsDefaults(&opts, true)
	if err := invalidOptions("ListOptions", internalvalidation.ValidateListOptions(&opts, true)); err != nil {
		return nil, err
	}
	// As upstream, where a negative limit is none.
	opts.Limit = max(opts.Limit, 0)
	if name := x.info.Name; name != "" {
		if opts.FieldSelector == nil || opts.FieldSelector.Empty() {
			opts.FieldSelector = fields.OneTermEqualSelector("metadata.name", name)
		} else if selected, ok := opts.FieldSelector.RequiresExactMatch("metadata.name"); !ok || selected != name {
			return nil, apierrors.NewBadRequest("fieldSelector metadata.name doesn't match requested name")
		}
	}
	return &opts, nil
}

func (x *exchange) selection(opts *internalversion.ListOptions) registry.Selection {
	return registry.Selection{Namespace: x.namespace(), Labels: opts.LabelSelector, Fields: opts.FieldSelector}
}

// tableOptions reads how a table is wanted.
func (x *exchange) tableOptions() (*metav1.TableOptions, error) {
	var opts metav1.TableOptions
	if err := metav1.Convert_url_Values_To_v1_TableOptions(&x.query, &opts, nil); err != nil {
		return nil, err
	}
	switch errs := validation.ValidateTableOptions(&opts); len(errs) {
	case 0:
		return &opts, nil
	case 1:
		return nil, apierrors.NewBadRequest(fmt.Sprintf("Unable to convert to Table as requested: %v", errs[0].Error()))
	default:
		return nil, apierrors.NewBadRequest(fmt.Sprintf("Unable to convert to Table as requested: %v", errs))
	}
}

// writeOptions are those that create, update and patch have in common.
type writeOptions struct {
	// given is what the request said.
	given      registry.Options
	dryRun     bool
	manager    string
	validation string
	force      bool
}

func (x *exchange) createOptions() (writeOptions, error) {
	var opts metav1.CreateOptions
	if err := metav1.Convert_url_Values_To_v1_CreateOptions(&x.query, &opts, nil); err != nil {
		return writeOptions{}, apierrors.NewBadRequest(err.Error())
	}
	return x.writeOptions(opts.DryRun, opts.FieldManager, opts.FieldValidation, nil),
		invalidOptions("CreateOptions", validation.ValidateCreateOptions(&opts))
}

func (x *exchange) updateOptions() (writeOptions, error) {
	var opts metav1.UpdateOptions
	if err := metav1.Convert_url_Values_To_v1_UpdateOptions(&x.query, &opts, nil); err != nil {
		return writeOptions{}, apierrors.NewBadRequest(err.Error())
	}
	return x.writeOptions(opts.DryRun, opts.FieldManager, opts.FieldValidation, nil),
		invalidOptions("UpdateOptions", validation.ValidateUpdateOptions(&opts))
}

func (x *exchange) writeOptions(dryRun []string, manager, fieldValidation string, force *bool) writeOptions {
	given := registry.Options{DryRun: dryRun, FieldManager: manager, FieldValidation: fieldValidation}
	if manager == "" {
		manager = agentName(x.r.UserAgent())
	}
	if fieldValidation == "" {
		fieldValidation = metav1.FieldValidationWarn
	}
	return writeOptions{given: given, dryRun: len(dryRun) > 0, manager: manager, validation: fieldValidation, force: force != nil && *force}
}

// agentName is the field manager of a client that names none: what is before the
// slash of its User-Agent.
func agentName(agent string) string {
	name, _, _ := strings.Cut(agent, "/")
	var b strings.Builder
	for _, r := range name {
		if !unicode.IsPrint(r) {
			continue
		}
		if b.Len()+len(string(r)) > validation.FieldManagerMaxLength {
			break
		}
		b.WriteRune(r)
	}
	if b.Len() == 0 {
		return "unknown"
	}
	return b.String()
}

// deleteOptions come in the body, or else in the query.
func (x *exchange) deleteOptions() (*metav1.DeleteOptions, error) {
	opts := &metav1.DeleteOptions{}
	body, err := x.readBody()
	if err != nil {
		return nil, err
	}
	if len(body) > 0 {
		media, ok := codec.Input(x.r.Header.Get("Content-Type"))
		if !ok {
			return nil, unsupportedMedia()
		}
		if opts, err = x.codec.DecodeDeleteOptions(media, body); err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
	} else if err := convertDelete(x.query, opts); err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	if len(body) > 0 {
		x.auditRequest(schema.GroupVersionKind{Version: "v1", Kind: "DeleteOptions"}, opts)
	}
	opts.TypeMeta = metav1.TypeMeta{}
	if unsafe := opts.IgnoreStoreReadErrorWithClusterBreakingPotential; unsafe != nil && *unsafe && x.info.Verb == "deletecollection" {
		return nil, invalidOptions("DeleteOptions", field.ErrorList{field.Invalid(field.NewPath("ignoreStoreReadErrorWithClusterBreakingPotential"),
			true, "is not allowed with DELETECOLLECTION, try again after removing the option")})
	}
	return opts, invalidOptions("DeleteOptions", validation.ValidateDeleteOptions(opts))
}

func convertDelete(query url.Values, opts *metav1.DeleteOptions) error {
	if len(query) == 0 {
		return nil
	}
	return metav1.Convert_url_Values_To_v1_DeleteOptions(&query, opts, nil)
}

// readBody reads the whole body, up to the bound.
func (x *exchange) readBody() ([]byte, error) {
	if x.r.Body == nil || x.r.Body == http.NoBody {
		return nil, nil
	}
	body, err := io.ReadAll(http.MaxBytesReader(x.w, x.r.Body, x.config.MaxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, apierrors.NewRequestEntityTooLargeError(fmt.Sprintf("limit is %d", x.config.MaxBody))
	case err != nil:
		return nil, apierrors.NewBadRequest(fmt.Sprintf("the body could not be read: %v", err))
	}
	return body, nil
}

// decodeBody reads the body as an object of kind gvk, of the Go type that make
// makes. It comes without TypeMeta.
func (x *exchange) decodeBody(gvk schema.GroupVersionKind, make func() runtime.Object, fieldValidation string) (runtime.Object, error) {
	into := make()
	media, ok := codec.Input(x.r.Header.Get("Content-Type"))
	if !ok || media == codec.Protobuf && !codec.HasProtobuf(into) {
		return nil, unsupportedMedia()
	}
	body, err := x.readBody()
	if err != nil {
		return nil, err
	}
	return x.decode(media, body, gvk, into, fieldValidation)
}

// decode is strict as the client wants it.
func (x *exchange) decode(media codec.Media, body []byte, gvk schema.GroupVersionKind, into runtime.Object, fieldValidation string) (runtime.Object, error) {
	obj, actual, err := x.codec.Decode(media, body, gvk, into, fieldValidation != metav1.FieldValidationIgnore)
	if actual != nil && *actual == gvk {
		err = x.prune(obj, gvk, err)
	}
	if err != nil {
		strict, isStrict := runtime.AsStrictDecodingError(err)
		if !isStrict || obj == nil || fieldValidation == metav1.FieldValidationStrict {
			return nil, undecodable(err, actual, gvk, body)
		}
		if fieldValidation != metav1.FieldValidationIgnore {
			x.warnStrict(strict.Errors())
		}
	}
	if actual != nil && *actual != gvk {
		if actual.GroupVersion() != gvk.GroupVersion() {
			return nil, apierrors.NewBadRequest(fmt.Sprintf(
				"the API version in the data (%s) does not match the expected API version (%s)", actual.GroupVersion(), gvk.GroupVersion()))
		}
		return nil, undecodable(otherKind(*actual, gvk), actual, gvk, body)
	}
	if !selfDescribing(obj) {
		obj.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
	}
	x.auditRequest(gvk, obj)
	return obj, nil
}

// prune removes the fields that an object's kind does not know, and adds them to
// the mistakes that strict decoding found.
func (x *exchange) prune(obj runtime.Object, gvk schema.GroupVersionKind, undecoded error) error {
	strict, isStrict := runtime.AsStrictDecodingError(undecoded)
	if undecoded != nil && !isStrict || obj == nil || x.resource.Prune == nil || gvk != x.resource.GVK {
		return undecoded
	}
	unknown, err := x.resource.Prune(obj)
	if err != nil {
		return err
	}
	var mistakes []error
	if isStrict {
		mistakes = strict.Errors()
	}
	for _, path := range unknown {
		mistakes = append(mistakes, fmt.Errorf("unknown field %q", path))
	}
	if len(mistakes) == 0 {
		return nil
	}
	return runtime.NewStrictDecodingError(mistakes)
}

// undecodable says what is wrong with a body, in upstream's words.
func undecodable(err error, actual *schema.GroupVersionKind, want schema.GroupVersionKind, body []byte) error {
	if actual != nil && actual.Kind != "" {
		return apierrors.NewBadRequest(fmt.Sprintf("%s in version %q cannot be handled as a %s: %v", actual.Kind, actual.Version, want.Kind, err))
	}
	return apierrors.NewBadRequest(fmt.Sprintf("the object provided is unrecognized (must be of type %s): %v (%s)", want.Kind, err, summary(body)))
}

// summary is how an error shows a body: as it is where it looks like JSON.
func summary(body []byte) string {
	const most = 30
	more := ""
	if len(body) == 0 {
		return "<empty>"
	}
	if len(body) > most {
		body, more = body[:most], " ..."
	}
	if body[0] == '{' {
		return string(body) + more
	}
	return hex.EncodeToString(body) + more
}

// warnStrict warns of each mistake that strict decoding found. The YAML decoder has
// several in one error, in lines of their own.
func (x *exchange) warnStrict(mistakes []error) {
	for _, m := range mistakes {
		text := m.Error()
		lines, ok := strings.CutPrefix(text, "yaml: unmarshal errors:\n")
		if !ok {
			lines, ok = strings.CutPrefix(text, "error converting YAML to JSON: yaml: unmarshal errors:\n")
		}
		if !ok {
			x.warn(text)
			continue
		}
		for line := range strings.SplitSeq(lines, "\n") {
			x.warn(strings.TrimSpace(line))
		}
	}
}
