// Package celexpr compiles and evaluates the CEL expressions of admission: match
// conditions of webhooks, validations, mutations, messages and variables of
// policies. It has the variables, the types, the libraries and the cost limits of
// upstream's admission CEL (https://kubernetes.io/docs/reference/using-api/cel/).
//
// What an expression may cost is bounded: [PerCallLimit] for one evaluation, and a
// budget that the caller gives for all of them ([Budget]). Both are in CEL's cost
// units; a million is about a tenth of a second.
package celexpr

import (
	"fmt"
	"sync"

	"github.com/google/cel-go/cel"
	"k8s.io/apimachinery/pkg/util/version"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	apiservercel "k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/common"
	"k8s.io/apiserver/pkg/cel/environment"
	"k8s.io/apiserver/pkg/cel/library"
	"k8s.io/apiserver/pkg/cel/mutation"

	"github.com/strake-io/strake/internal/celtypes"
)

const (
	// PerCallLimit is what one evaluation of one expression may cost.
	PerCallLimit = celconfig.PerCallLimit
	// PolicyBudget is what all validations and variables of a policy may cost for one
	// binding and parameter.
	PolicyBudget = celconfig.RuntimeCELCostBudget
	// MatchBudget is what all match conditions of a webhook or a policy may cost.
	MatchBudget = celconfig.RuntimeCELCostBudgetMatchConditions
)

// Names of the variables.
const (
	objectName             = "object"
	oldObjectName          = "oldObject"
	paramsName             = "params"
	requestName            = "request"
	namespaceName          = "namespaceObject"
	authorizerName         = "authorizer"
	resourceAuthorizerName = "authorizer.requestResource"
	variablesName          = "variables"
)

// Declares says which variables and types an expression may use beside object,
// oldObject, request and namespaceObject.
type Declares struct {
	// Params declares params, Authorizer authorizer and authorizer.requestResource.
	Params, Authorizer bool
	// Patches declares the types JSONPatch and Object, for mutations.
	Patches bool
}

// environments are those of expressions without variables of a policy, each made
// when it is first asked for, and never changed: they are the same for everyone.
var environments = func() map[Declares]func() (*environment.EnvSet, error) {
	all := map[Declares]func() (*environment.EnvSet, error){}
	for _, params := range []bool{false, true} {
		for _, authorizer := range []bool{false, true} {
			for _, patches := range []bool{false, true} {
				d := Declares{params, authorizer, patches}
				all[d] = sync.OnceValues(func() (*environment.EnvSet, error) { return newEnvironment(d) })
			}
		}
	}
	return all
}()

// always is a version before any: the options hold for all expressions.
var always = version.MajorMinor(1, 0)

func newEnvironment(d Declares) (*environment.EnvSet, error) {
	request, namespace := celtypes.Request(), celtypes.Namespace()
	options := []cel.EnvOption{
		cel.Variable(objectName, cel.DynType),
		cel.Variable(oldObjectName, cel.DynType),
		cel.Variable(namespaceName, namespace.CelType()),
		cel.Variable(requestName, request.CelType()),
	}
	if d.Params {
		options = append(options, cel.Variable(paramsName, cel.DynType))
	}
	if d.Authorizer {
		options = append(options,
			cel.Variable(authorizerName, library.AuthorizerType),
			cel.Variable(resourceAuthorizerName, library.ResourceCheckType))
	}
	base := environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion())
	set, err := base.Extend(environment.VersionedOptions{
		IntroducedVersion: always, EnvOptions: options, DeclTypes: []*apiservercel.DeclType{namespace, request},
	}, environment.StrictCostOpt)
	if err == nil && d.Patches {
		set, err = set.Extend(environment.VersionedOptions{IntroducedVersion: always, EnvOptions: []cel.EnvOption{
			common.ResolverEnvOption(&mutation.DynamicTypeResolver{}),
			environment.UnversionedLib(library.JSONPatch),
		}})
	}
	if err != nil {
		return nil, fmt.Errorf("the CEL environment of admission: %w", err)
	}
	return set, nil
}
