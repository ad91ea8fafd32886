// Command openapinotes writes apiserver/openapi/notes.json: what upstream's openapi
// documents say of the built-in types that the Go types themselves do not, because
// it stands in comments and markers only (enum values, defaults, how lists merge,
// what is required). Run it when k8s.io/api changes:
//
//	cd internal/openapinotes && go generate . && go run -tags generated .
//
// The first step has upstream's own generator read the sources. It is a module of
// its own, so that the generator is no dependency of the library.
package main

//go:generate sh -c "go run k8s.io/kube-openapi/cmd/openapi-gen --go-header-file /dev/null --report-filename /dev/null --output-dir ./generated --output-pkg github.com/strake-io/strake/internal/openapinotes/generated $(go list k8s.io/api/... | grep -E '/v[0-9]+((alpha|beta)[0-9]+)?$' | tr '\\n' ' ') k8s.io/apimachinery/pkg/apis/meta/v1 k8s.io/apimachinery/pkg/api/resource k8s.io/apimachinery/pkg/util/intstr k8s.io/apimachinery/pkg/runtime k8s.io/apimachinery/pkg/version k8s.io/kube-aggregator/pkg/apis/apiregistration/v1 k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
