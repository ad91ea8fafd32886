package apiserver_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/strake-io/strake/apiserver"
)

// answer is one request, and the Status or text that upstream gives for it.
type answer struct {
	name         string
	method, path string
	body         string
	headers      []string
	code         int
	// reason and message of a Status; a message that ends in ... is a beginning.
	reason  metav1.StatusReason
	message string
	// text is the body where it is no Status.
	text string
}

func (a answer) check(t *testing.T, s *apiserver.Server) {
	t.Helper()
	code, header, body := do(t, s, a.method, a.path, a.body, a.headers...)
	if code != a.code {
		t.Errorf("%s: status %d, want %d: %s", a.name, code, a.code, body)
		return
	}
	if a.text != "" {
		if got := strings.TrimSpace(string(body)); got != a.text || !strings.HasPrefix(header.Get("Content-Type"), "text/plain") {
			t.Errorf("%s: %q of %s, want the text %q", a.name, got, header.Get("Content-Type"), a.text)
		}
		return
	}
	if code < 300 {
		return
	}
	var status metav1.Status
	if err := json.Unmarshal(body, &status); err != nil {
		t.Errorf("%s: %v in %s", a.name, err, body)
		return
	}
	same := status.Message == a.message
	if start, ok := strings.CutSuffix(a.message, "..."); ok {
		same = strings.HasPrefix(status.Message, start)
	}
	if status.Kind != "Status" || status.Status != metav1.StatusFailure || int(status.Code) != code || status.Reason != a.reason || !same {
		t.Errorf("%s: %s %q\nwant %s %q", a.name, status.Reason, status.Message, a.reason, a.message)
	}
}

const (
	podsPath = "/api/v1/namespaces/default/pods"
	podBody  = `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"q"},"spec":{"containers":[{"name":"c","image":"i"}]}}`
)

func TestAnswersOfPaths(t *testing.T) {
	s := start(t)
	clientWithNamespace(t, s)
	const (
		notFound   = "the server could not find the requested resource"
		notAllowed = "the server does not allow this method on the requested resource"
	)
	for _, a := range []answer{
		{name: "no such group", method: "GET", path: "/apis/nope.io/v1/foos", code: 404, text: "404 page not found"},
		{name: "no such path", method: "GET", path: "/nope", code: 404, text: "404 page not found"},
		{name: "no such resource", method: "GET", path: "/api/v1/foos", code: 404, reason: "NotFound", message: notFound},
		{name: "no such version", method: "GET", path: "/apis/apps/v9/deployments", code: 404, reason: "NotFound", message: notFound},
		{name: "no such sub-resource", method: "GET", path: podsPath + "/p/foo", code: 404, reason: "NotFound", message: notFound},
		{name: "no such object", method: "GET", path: podsPath + "/p", code: 404, reason: "NotFound", message: `pods "p" not found`},
		{name: "put to a collection", method: "PUT", path: podsPath, code: 405, reason: "MethodNotAllowed", message: notAllowed},
		{name: "post to an object", method: "POST", path: podsPath + "/p", code: 405, reason: "MethodNotAllowed", message: notAllowed},
		{name: "post across namespaces", method: "POST", path: "/api/v1/pods", code: 405, reason: "MethodNotAllowed", message: notAllowed},
		{name: "head", method: "HEAD", path: podsPath, code: 405, reason: "MethodNotAllowed", message: notAllowed},
		{name: "options", method: "OPTIONS", path: podsPath, code: 405, reason: "MethodNotAllowed", message: notAllowed},
		{name: "post to discovery", method: "POST", path: "/apis", code: 405, reason: "MethodNotAllowed", message: notAllowed},
		{name: "an export", method: "GET", path: podsPath + "/p?export=true", code: 400, reason: "BadRequest", message: "the export parameter, deprecated since v1.14, is no longer supported"},
		{name: "a timeout that is none", method: "GET", path: podsPath + "?timeout=x", code: 400, reason: "BadRequest", message: `invalid timeout specified in the request URL - time: invalid duration "x"`},
	} {
		a.check(t, s)
	}
}

func TestAnswersOfLists(t *testing.T) {
	s, _ := withPods(t, 3)
	invalid := func(rest string) string { return `ListOptions.meta.k8s.io "" is invalid: ` + rest }
	for _, a := range []answer{
		{name: "match without version", path: "?resourceVersionMatch=Exact", code: 422, reason: "Invalid",
			message: invalid("resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided")},
		{name: "unknown match", path: "?resourceVersion=1&resourceVersionMatch=Foo", code: 422, reason: "Invalid",
			message: invalid(`resourceVersionMatch: Unsupported value: "Foo": supported values: "Exact", "NotOlderThan", ""`)},
		{name: "exactly 0", path: "?resourceVersion=0&resourceVersionMatch=Exact", code: 422, reason: "Invalid",
			message: invalid(`resourceVersionMatch: Forbidden: resourceVersionMatch "exact" is forbidden for resourceVersion "0"`)},
		{name: "match of a page", path: "?resourceVersion=1&resourceVersionMatch=Exact&continue=x", code: 422, reason: "Invalid",
			message: invalid("resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden when continue is provided")},
		{name: "initial events of a list", path: "?sendInitialEvents=true", code: 422, reason: "Invalid",
			message: invalid("sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list")},
		{name: "initial events without match", path: "?watch=1&sendInitialEvents=true", code: 422, reason: "Invalid",
			message: invalid("resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")},
		{name: "match of a watch", path: "?watch=1&resourceVersion=1&resourceVersionMatch=NotOlderThan", code: 422, reason: "Invalid",
			message: invalid("resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided")},
		{name: "version of a list", path: "?resourceVersion=x", code: 400, reason: "BadRequest",
			message: `invalid resource version: resourceVersion: Invalid value: "x": strconv.ParseUint: parsing "x": invalid syntax`},
		{name: "version of a get", path: "/p00?resourceVersion=x", code: 500,
			message: `resourceVersion: Invalid value: "x": strconv.ParseUint: parsing "x": invalid syntax`},
		{name: "version of a watch", path: "?watch=1&resourceVersion=-1", code: 500,
			message: `resourceVersion: Invalid value: "-1": strconv.ParseUint: parsing "-1": invalid syntax`},
		{name: "version of the future", path: "?resourceVersion=99999999&resourceVersionMatch=NotOlderThan", code: 504, reason: "Timeout",
			message: "Timeout: Too large resource version: 99999999, current: ..."},
		{name: "limit", path: "?limit=x", code: 400, reason: "BadRequest", message: `strconv.ParseInt: parsing "x": invalid syntax`},
		{name: "label selector", path: "?labelSelector=a%3D(", code: 400, reason: "BadRequest",
			message: "unable to parse requirement: found '(', expected: identifier"},
		{name: "field selector", path: "?fieldSelector=a", code: 400, reason: "BadRequest", message: `invalid selector: 'a'; can't understand 'a'`},
		{name: "unknown field", path: "?fieldSelector=spec.foo%3Da", code: 400, reason: "BadRequest", message: "field label not supported: spec.foo"},
		{name: "continue: no base64", path: "?continue=%21", code: 400, reason: "BadRequest",
			message: "invalid continue token: continue key is not valid: illegal base64 data at input byte 0"},
		{name: "continue: no JSON", path: "?continue=YQ", code: 400, reason: "BadRequest",
			message: "invalid continue token: continue key is not valid: invalid character 'a' looking for beginning of value"},
		{name: "continue: version", path: "?continue=eyJ2IjoieCJ9", code: 400, reason: "BadRequest",
			message: "invalid continue token: continue key is not valid: server does not recognize this encoded version x"},
		{name: "continue: revision", path: "?continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEifQ", code: 400, reason: "BadRequest",
			message: "invalid continue token: continue key is not valid: incorrect encoded start resourceVersion (version meta.k8s.io/v1)"},
		{name: "a table of what", path: "?includeObject=Foo", headers: []string{"Accept", "application/json;as=Table;v=v1;g=meta.k8s.io"}, code: 400, reason: "BadRequest",
			message: `Unable to convert to Table as requested: includeObject: Invalid value: "Foo": must be 'Metadata', 'Object', 'None', or empty`},
		{name: "metadata of a list", headers: []string{"Accept", "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"}, code: 406, reason: "NotAcceptable",
			message: "you requested PartialObjectMetadata, but the requested object is a list (*core.PodList)"},
		{name: "a list of one", path: "/p00", headers: []string{"Accept", "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"}, code: 406, reason: "NotAcceptable",
			message: "you requested PartialObjectMetadataList, but the requested object is not a list (*core.Pod)"},
		{name: "a type not known", headers: []string{"Accept", "application/json;as=Foo;v=v1;g=meta.k8s.io"}, code: 406, reason: "NotAcceptable",
			message: "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf"},
		{name: "watch by another name", path: "?watch=1&fieldSelector=metadata.name%3D..%2Fx,spec.nodeName%3Dn&timeoutSeconds=1", code: 200},
	} {
		a.method, a.path = http.MethodGet, podsPath+a.path
		a.check(t, s)
	}
	answer{name: "old watch of another name", method: "GET", path: "/api/v1/watch/namespaces/default/pods/p00?fieldSelector=metadata.name%3Dp01", code: 400,
		reason: "BadRequest", message: "fieldSelector metadata.name doesn't match requested name"}.check(t, s)
}

func TestAnswersOfWrites(t *testing.T) {
	s, _ := withPods(t, 1)
	at := func(path string) string { return podsPath + path }
	named := strings.ReplaceAll(podBody, `"q"`, `"p00"`)
	for _, a := range []answer{
		{name: "no body", method: "POST", path: at(""), code: 400, reason: "BadRequest",
			message: "the object provided is unrecognized (must be of type Pod): couldn't get version/kind; json parse error: unexpected end of JSON input (<empty>)"},
		{name: "no JSON", method: "POST", path: at(""), body: "{x", code: 400, reason: "BadRequest",
			message: "the object provided is unrecognized (must be of type Pod): couldn't get version/kind; json parse error: invalid character 'x' looking for beginning of object key string ({x)"},
		{name: "text", method: "POST", path: at(""), body: "hello", code: 400, reason: "BadRequest",
			message: "the object provided is unrecognized (must be of type Pod): couldn't get version/kind; json parse error: invalid character 'h' looking for beginning of value (68656c6c6f)"},
		{name: "another version", method: "POST", path: at(""), body: `{"kind":"Deployment","apiVersion":"apps/v1"}`, code: 400, reason: "BadRequest",
			message: "the API version in the data (apps/v1) does not match the expected API version (v1)"},
		{name: "another kind", method: "POST", path: at(""), body: `{"kind":"ConfigMap","apiVersion":"v1"}`, code: 400, reason: "BadRequest",
			message: `ConfigMap in version "v1" cannot be handled as a Pod: converting (v1.ConfigMap) to (core.Pod): unknown conversion`},
		{name: "an unknown kind", method: "POST", path: at(""), body: `{"kind":"Foo","apiVersion":"v1"}`, code: 400, reason: "BadRequest",
			message: `Foo in version "v1" cannot be handled as a Pod: no kind "Foo" is registered for version "v1" in scheme ...`},
		{name: "a wrong type", method: "POST", path: at(""), body: `{"kind":"Pod","apiVersion":"v1","spec":{"containers":1}}`, code: 400, reason: "BadRequest",
			message: `Pod in version "v1" cannot be handled as a Pod: json: cannot unmarshal number into Go struct field PodSpec.spec.containers of type []v1.Container`},
		{name: "strict", method: "POST", path: at("?fieldValidation=Strict"), body: strings.Replace(podBody, `"spec":{`, `"foo":1,"spec":{"bar":2,`, 1), code: 400, reason: "BadRequest",
			message: `Pod in version "v1" cannot be handled as a Pod: strict decoding error: unknown field "foo", unknown field "spec.bar"`},
		{name: "strict, twice", method: "POST", path: at("?fieldValidation=Strict"), body: strings.Replace(podBody, `"image"`, `"image":"j","image"`, 1), code: 400, reason: "BadRequest",
			message: `Pod in version "v1" cannot be handled as a Pod: strict decoding error: duplicate field "spec.containers[0].image"`},
		{name: "field validation", method: "POST", path: at("?fieldValidation=x"), body: podBody, code: 422, reason: "Invalid",
			message: `CreateOptions.meta.k8s.io "" is invalid: fieldValidation: Unsupported value: "x": supported values: "", "Ignore", "Strict", "Warn"`},
		{name: "dry run", method: "POST", path: at("?dryRun=x"), body: podBody, code: 422, reason: "Invalid",
			message: `CreateOptions.meta.k8s.io "" is invalid: dryRun: Unsupported value: ["x"]: supported values: "All"`},
		{name: "another namespace", method: "POST", path: at(""), body: strings.Replace(podBody, `"name":"q"`, `"name":"q","namespace":"z"`, 1), code: 400, reason: "BadRequest",
			message: "the namespace of the provided object does not match the namespace sent on the request"},
		{name: "with a version", method: "POST", path: at(""), body: strings.Replace(podBody, `"name":"q"`, `"name":"q","resourceVersion":"7"`, 1), code: 500,
			message: "resourceVersion should not be set on objects to be created"},
		{name: "with version 0", method: "POST", path: at("?dryRun=All"), body: strings.Replace(podBody, `"name":"q"`, `"name":"q","resourceVersion":"0"`, 1), code: 201},
		{name: "no name", method: "POST", path: at(""), body: strings.Replace(podBody, `"name":"q"`, ``, 1), code: 422, reason: "Invalid",
			message: `Pod "" is invalid: metadata.name: Required value: name or generateName is required`},
		{name: "taken", method: "POST", path: at(""), body: named, code: 409, reason: "AlreadyExists", message: `pods "p00" already exists`},
		{name: "taken, generated", method: "POST", path: at(""), body: strings.Replace(named, `"metadata":{`, `"metadata":{"generateName":"p",`, 1), code: 409, reason: "AlreadyExists",
			message: `pods "p00" already exists, the server was not able to generate a unique name for the object`},
		{name: "media type", method: "POST", path: at(""), body: podBody, headers: []string{"Content-Type", "application/cbor"}, code: 415, reason: "UnsupportedMediaType",
			message: "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf"},
		{name: "patch type", method: "PATCH", path: at("/p00"), body: "{}", headers: []string{"Content-Type", "application/json"}, code: 415, reason: "UnsupportedMediaType",
			message: "415: Unsupported Media Type"},
		{name: "no such object", method: "PATCH", path: at("/x"), body: "{}", headers: []string{"Content-Type", "application/merge-patch+json"}, code: 404, reason: "NotFound", message: `pods "x" not found`},
		{name: "force of a merge", method: "PATCH", path: at("/p00?force=true"), body: "{}", headers: []string{"Content-Type", "application/merge-patch+json"}, code: 422, reason: "Invalid",
			message: `PatchOptions.meta.k8s.io "" is invalid: force: Forbidden: may not be specified for non-apply patch`},
		{name: "put by another name", method: "PUT", path: at("/p00"), body: podBody, code: 400, reason: "BadRequest", message: "the name of the object (q) does not match the name on the URL (p00)"},
		{name: "put without name", method: "PUT", path: at("/p00"), body: strings.Replace(podBody, `"name":"q"`, ``, 1), code: 400, reason: "BadRequest",
			message: "the name of the object (p00 based on URL) was undeterminable: name must be provided"},
		{name: "put elsewhere", method: "PUT", path: at("/p00"), body: strings.Replace(named, `"name":"p00"`, `"name":"p00","namespace":"z"`, 1), code: 400, reason: "BadRequest",
			message: "the namespace of the provided object does not match the namespace sent on the request"},
		{name: "put over another", method: "PUT", path: at("/p00"), body: strings.Replace(named, `"name":"p00"`, `"name":"p00","uid":"u"`, 1), code: 409, reason: "Conflict",
			message: `Operation cannot be fulfilled on pods "p00": StorageError: invalid object, Code: 4, Key: /registry/pods/default/p00, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: u, UID in object meta: ...`},
		{name: "put over an older one", method: "PUT", path: at("/p00"), body: strings.Replace(named, `"name":"p00"`, `"name":"p00","resourceVersion":"1"`, 1), code: 409, reason: "Conflict",
			message: `Operation cannot be fulfilled on pods "p00": the object has been modified; please apply your changes to the latest version and try again`},
		{name: "put with no version", method: "PUT", path: at("/p00"), body: strings.Replace(named, `"name":"p00"`, `"name":"p00","resourceVersion":"x"`, 1), code: 500,
			message: `strconv.ParseUint: parsing "x": invalid syntax`},
		{name: "put without version", method: "PUT", path: "/apis/apps/v1/namespaces/default/deployments/d", body: `{"kind":"Deployment","apiVersion":"apps/v1","metadata":{"name":"d"}}`, code: 404, reason: "NotFound",
			message: `deployments.apps "d" not found`},
		{name: "put with a uid where there is none", method: "PUT", path: "/api/v1/namespaces/default/configmaps/c", body: `{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"c","uid":"u"}}`, code: 409, reason: "Conflict",
			message: `Operation cannot be fulfilled on configmaps "c": StorageError: invalid object, Code: 4, Key: /registry/configmaps/default/c, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: u, UID in object meta: `},
		{name: "delete another", method: "DELETE", path: at("/p00"), body: `{"preconditions":{"uid":"u"}}`, code: 409, reason: "Conflict",
			message: `Operation cannot be fulfilled on Pod "p00": the UID in the precondition (u) does not match the UID in record (...`},
		{name: "delete both ways", method: "DELETE", path: at("/p00"), body: `{"orphanDependents":true,"propagationPolicy":"Orphan"}`, code: 422, reason: "Invalid",
			message: `DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Invalid value: "Orphan": orphanDependents and deletionPropagation cannot be both set`},
		{name: "delete all, whatever it is", method: "DELETE", path: at("?ignoreStoreReadErrorWithClusterBreakingPotential=true"), code: 422, reason: "Invalid",
			message: `DeleteOptions.meta.k8s.io "" is invalid: ignoreStoreReadErrorWithClusterBreakingPotential: Invalid value: true: is not allowed with DELETECOLLECTION, try again after removing the option`},
	} {
		a.check(t, s)
	}
	answer{name: "too large", method: "POST", path: at(""), body: strings.Repeat(" ", 3<<20+1), code: 413, reason: "RequestEntityTooLarge",
		message: "Request entity too large: limit is 3145728"}.check(t, s)
}

func TestAnswersOfApply(t *testing.T) {
	s, _ := withPods(t, 1)
	apply := []string{"Content-Type", "application/apply-patch+yaml"}
	pod := func(meta, spec string) string {
		return fmt.Sprintf(`{"kind":"Pod","apiVersion":"v1","metadata":{%s},"spec":{%s}}`, meta, spec)
	}
	for _, a := range []answer{
		{name: "no manager", path: "/p00", body: "{}", code: 422, reason: "Invalid",
			message: `PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch`},
		{name: "no object", path: "/p00?fieldManager=m", body: "[]", code: 400, reason: "BadRequest", message: "error decoding patch: json: cannot unmarshal array..."},
		{name: "managed fields", path: "/p00?fieldManager=m", body: pod(`"managedFields":[{}]`, ""), code: 400, reason: "BadRequest", message: "metadata.managedFields must be nil"},
		{name: "unknown field", path: "/p00?fieldManager=m", body: pod(`"name":"p00","namespace":"default"`, `"foo":1`), code: 500,
			message: "failed to create typed patch object (default/p00; /v1, Kind=Pod): .spec.foo: field not declared in schema"},
		{name: "by another name", path: "/p00?fieldManager=m", body: pod(`"name":"x"`, ``), code: 400, reason: "BadRequest", message: "the name of the object (x) does not match the name on the URL (p00)"},
		{name: "elsewhere", path: "/p00?fieldManager=m", body: pod(`"namespace":"x"`, ``), code: 400, reason: "BadRequest",
			message: "the namespace of the provided object does not match the namespace sent on the request"},
		{name: "twice, strict", path: "/p00?fieldManager=m&fieldValidation=Strict", body: "kind: Pod\napiVersion: v1\nmetadata: {labels: {a: b, a: c}}\n", code: 400, reason: "BadRequest",
			message: "error strict decoding patch: error converting YAML to JSON: yaml: unmarshal errors:\n  line 3: key \"a\" already set in map"},
		{name: "a conflict", path: "/p00?fieldManager=m", body: pod("", `"containers":[{"name":"c","image":"other"}]`), code: 409, reason: "Conflict",
			message: `Apply failed with 1 conflict: conflict with "apiserver.test" using v1: .spec.containers[name="c"].image`},
		{name: "a uid where there is none", path: "/new?fieldManager=m", body: pod(`"uid":"u"`, `"containers":[{"name":"c","image":"i"}]`), code: 409, reason: "Conflict",
			message: `Operation cannot be fulfilled on pods "new": uid mismatch: the provided object specified uid u, and no existing object was found`},
		{name: "an older one", path: "/p00?fieldManager=m", body: pod(`"resourceVersion":"1"`, ""), code: 409, reason: "Conflict",
			message: `Operation cannot be fulfilled on pods "p00": the object has been modified; please apply your changes to the latest version and try again`},
		{name: "created", path: "/new?fieldManager=m", body: pod(``, `"containers":[{"name":"c","image":"i"}]`), code: 201},
		{name: "again", path: "/new?fieldManager=m", body: pod(``, `"containers":[{"name":"c","image":"i"}]`), code: 200},
	} {
		a.method, a.path, a.headers = http.MethodPatch, podsPath+a.path, apply
		a.check(t, s)
	}
}
