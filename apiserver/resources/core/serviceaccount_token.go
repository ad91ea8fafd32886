package core

import (
	"context"
	"fmt"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/strake-io/strake/apiserver/authn/tokens"
	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/rules"
)

// Bounds on the life of a token, in seconds, and what it is where nothing is asked
// for. Kubelets ask for an hour and seven seconds on behalf of pods that may not read
// their token again: those get a year, and whoever still uses one after that hour is
// noticed.
const (
	minTokenSeconds      = 10 * 60
	maxTokenSeconds      = 1 << 32
	defaultTokenSeconds  = 60 * 60
	extendedTokenSeconds = 60*60 + 7
	extendedTokenLife    = 365 * 24 * time.Hour
)

func tokenSubresource(issuer *tokens.Issuer) resource.Subresource {
	return resource.Subresource{
		Name: "token", GVK: authenticationv1.SchemeGroupVersion.WithKind("TokenRequest"),
		New: func() runtime.Object { return &authenticationv1.TokenRequest{} },
		Create: func(ctx context.Context, req resource.Request, obj runtime.Object, objects resource.Objects) (runtime.Object, error) {
			request, ok := obj.(*authenticationv1.TokenRequest)
			if !ok {
				return nil, apierrors.NewBadRequest(fmt.Sprintf("not a TokenRequest: %T", obj))
			}
			if issuer == nil {
				return nil, apierrors.NewServiceUnavailable("this server issues no tokens")
			}
			return issueToken(ctx, req, request, objects, issuer)
		},
	}
}

func issueToken(ctx context.Context, req resource.Request, request *authenticationv1.TokenRequest, objects resource.Objects, issuer *tokens.Issuer) (runtime.Object, error) {
	if request.Name != "" && request.Name != req.Name {
		return nil, apierrors.NewInvalid(schema.GroupKind{Group: authenticationv1.GroupName, Kind: "TokenRequest"}, request.Name, field.ErrorList{
			field.Invalid(field.NewPath("metadata").Child("name"), request.Name, "must match the service account name if specified"),
		})
	}
	obj, err := objects.Get(ctx, schema.GroupResource{Resource: "serviceaccounts"}, req.Namespace, req.Name)
	if err != nil {
		return nil, err
	}
	account := obj.(*corev1.ServiceAccount)
	if request.UID != "" && request.UID != account.UID {
		return nil, apierrors.NewConflict(schema.GroupResource{Group: authenticationv1.GroupName, Resource: "TokenRequest"}, req.Name, fmt.Errorf(
			"the UID in the token request (%s) does not match the UID of the service account (%s)", request.UID, account.UID))
	}
	now := time.Now()
	request.Name, request.Namespace, request.UID = account.Name, account.Namespace, account.UID
	request.CreationTimestamp = metav1.NewTime(now)
	if request.Spec.ExpirationSeconds == nil || *request.Spec.ExpirationSeconds == 0 {
		seconds := int64(defaultTokenSeconds)
		request.Spec.ExpirationSeconds = &seconds
	}
	if errs := validateTokenRequest(&request.Spec, field.NewPath("spec")); len(errs) > 0 {
		return nil, apierrors.NewInvalid(schema.GroupKind{Group: authenticationv1.GroupName, Kind: "TokenRequest"}, "", errs)
	}
	bound := tokens.Bound{Namespace: account.Namespace, Account: tokens.Ref{Name: account.Name, UID: account.UID}}
	if ref := request.Spec.BoundObjectRef; ref != nil {
		if err := bindToken(ctx, &bound, ref, account, objects); err != nil {
			return nil, err
		}
	}
	audiences := request.Spec.Audiences
	own := len(audiences) == 0
	if own {
		audiences = issuer.Audiences()
		request.Spec.Audiences = audiences
	}
	seconds := *request.Spec.ExpirationSeconds
	expires := now.Add(time.Duration(seconds) * time.Second)
	shown := expires
	if own && seconds == extendedTokenSeconds && bound.Pod != nil {
		expires = now.Add(extendedTokenLife)
		bound.WarnAfter = jwt.NewNumericDate(shown)
	}
	token := ""
	if !req.DryRun {
		if token, err = issuer.Issue(bound, audiences, string(uuid.NewUUID()), now, expires); err != nil {
			return nil, apierrors.NewInternalError(err)
		}
	}
	request.Status = authenticationv1.TokenRequestStatus{Token: token, ExpirationTimestamp: metav1.NewTime(shown)}
	return request, nil
}

func validateTokenRequest(spec *authenticationv1.TokenRequestSpec, path *field.Path) field.ErrorList {
	at := path.Child("expirationSeconds")
	switch n := *spec.ExpirationSeconds; {
	case n < minTokenSeconds:
		return field.ErrorList{field.Invalid(at, n, "may not specify a duration less than 10 minutes")}
	case n > maxTokenSeconds:
		return field.ErrorList{field.Invalid(at, n, "may not specify a duration larger than 2^32 seconds")}
	}
	var errs field.ErrorList
	for i, a := range spec.Audiences {
		if a == "" {
			errs = append(errs, rules.Matches(a, path.Child("audiences").Index(i), []string{"must not be empty"})...)
		}
	}
	return errs
}

// bindToken finds what the token shall end with.
func bindToken(ctx context.Context, bound *tokens.Bound, ref *authenticationv1.BoundObjectReference, account *corev1.ServiceAccount, objects resource.Objects) error {
	get := func(plural, namespace string) (runtime.Object, error) {
		return objects.Get(ctx, schema.GroupResource{Resource: plural}, namespace, ref.Name)
	}
	same := func(plural string, uid types.UID) error {
		if ref.UID == "" || ref.UID == uid {
			return nil
		}
		return apierrors.NewConflict(schema.GroupResource{Resource: plural}, ref.Name, fmt.Errorf(
			"the UID in the bound object reference (%s) does not match the UID in record. The object might have been deleted and then recreated", ref.UID))
	}
	switch gvk := schema.FromAPIVersionAndKind(ref.APIVersion, ref.Kind); {
	case gvk.Group == "" && gvk.Kind == "Pod":
		obj, err := get("pods", account.Namespace)
		if err != nil {
			return err
		}
		pod := obj.(*corev1.Pod)
		name := pod.Spec.ServiceAccountName
		if name == "" {
			name = "default"
		}
		if name != account.Name {
			return apierrors.NewBadRequest(fmt.Sprintf("cannot bind token for serviceaccount %q to pod running with different serviceaccount name.", account.Name))
		}
		bound.Pod = &tokens.Ref{Name: pod.Name, UID: pod.UID}
		if pod.Spec.NodeName != "" {
			bound.Node = &tokens.Ref{Name: pod.Spec.NodeName}
			if node, err := objects.Get(ctx, schema.GroupResource{Resource: "nodes"}, "", pod.Spec.NodeName); err == nil {
				bound.Node.UID = node.(*corev1.Node).UID
			}
		}
		return same("pods", pod.UID)
	case gvk.Group == "" && gvk.Kind == "Secret":
		obj, err := get("secrets", account.Namespace)
		if err != nil {
			return err
		}
		secret := obj.(*corev1.Secret)
		bound.Secret = &tokens.Ref{Name: secret.Name, UID: secret.UID}
		return same("secrets", secret.UID)
	case gvk.Group == "" && gvk.Kind == "Node":
		obj, err := get("nodes", "")
		if err != nil {
			return err
		}
		node := obj.(*corev1.Node)
		bound.Node = &tokens.Ref{Name: node.Name, UID: node.UID}
		return same("nodes", node.UID)
	default:
		return apierrors.NewBadRequest(fmt.Sprintf("cannot bind token to object of type %s", gvk.String()))
	}
}
