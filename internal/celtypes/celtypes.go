// Package celtypes declares the types that the CEL expressions of admission meet
// whatever they are about: the request and the namespace of an object. The API server
// evaluates such expressions, and a controller looks for mistakes in them.
package celtypes

import (
	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types/traits"
	apiservercel "k8s.io/apiserver/pkg/cel"
)

// record makes an object type of its fields; the names of those that are optional
// end in "?".
func record(name string, fields map[string]*apiservercel.DeclType) *apiservercel.DeclType {
	declared := make(map[string]*apiservercel.DeclField, len(fields))
	for field, of := range fields {
		required := true
		if field[len(field)-1] == '?' {
			field, required = field[:len(field)-1], false
		}
		declared[field] = apiservercel.NewDeclField(field, of, required, nil, nil)
	}
	return apiservercel.NewObjectType(name, declared)
}

type fieldTypes = map[string]*apiservercel.DeclType

func listOf(t *apiservercel.DeclType) *apiservercel.DeclType { return apiservercel.NewListType(t, -1) }

func mapOf(t *apiservercel.DeclType) *apiservercel.DeclType {
	return apiservercel.NewMapType(apiservercel.StringType, t, -1)
}

// Request is an AdmissionRequest without its uid and its objects.
func Request() *apiservercel.DeclType {
	text := apiservercel.StringType
	kind := record("kubernetes.GroupVersionKind", fieldTypes{"group": text, "version": text, "kind": text})
	resource := record("kubernetes.GroupVersionResource", fieldTypes{"group": text, "version": text, "resource": text})
	user := record("kubernetes.UserInfo", fieldTypes{
		"username?": text, "uid?": text, "groups?": listOf(text), "extra?": mapOf(listOf(text)),
	})
	return record("kubernetes.AdmissionRequest", fieldTypes{
		"kind": kind, "resource": resource, "subResource?": text,
		"requestKind": kind, "requestResource": resource, "requestSubResource?": text,
		"name": text, "namespace?": text, "operation": text, "userInfo": user,
		"dryRun?": apiservercel.BoolType, "options?": apiservercel.DynType,
	})
}

// Namespace is a Namespace without what is nobody's business: managed fields,
// owners.
func Namespace() *apiservercel.DeclType {
	text, moment, number := apiservercel.StringType, apiservercel.TimestampType, apiservercel.IntType
	condition := record("kubernetes.NamespaceCondition", fieldTypes{
		"status": text, "type": text, "lastTransitionTime": moment, "message": text, "reason": text,
	})
	return record("kubernetes.Namespace", fieldTypes{
		"metadata": record("kubernetes.NamespaceMetadata", fieldTypes{
			"name": text, "generateName": text, "namespace": text, "labels": mapOf(text), "annotations": mapOf(text), "UID": text,
			"creationTimestamp": moment, "deletionGracePeriodSeconds": number, "deletionTimestamp": moment,
			"generation": number, "resourceVersion": text, "finalizers": listOf(text),
		}),
		"spec":   record("kubernetes.NamespaceSpec", fieldTypes{"finalizers": listOf(text)}),
		"status": record("kubernetes.NamespaceStatus", fieldTypes{"conditions": listOf(condition), "phase": text}),
	})
}

// Declared is a type of CEL as an environment declares it; nil, which is not known,
// and what has no counterpart are dynamic.
func Declared(t *cel.Type) *apiservercel.DeclType {
	if t == nil {
		return apiservercel.DynType
	}
	if simple := simpleTypes[t]; simple != nil {
		return simple
	}
	if t.HasTrait(traits.ContainerType) && t.HasTrait(traits.IndexerType) {
		switch of := t.Parameters(); len(of) {
		case 1:
			return listOf(Declared(of[0]))
		case 2:
			return apiservercel.NewMapType(Declared(of[0]), Declared(of[1]), -1)
		}
	}
	return apiservercel.DynType
}

var simpleTypes = map[*cel.Type]*apiservercel.DeclType{
	cel.AnyType: apiservercel.AnyType, cel.BoolType: apiservercel.BoolType, cel.BytesType: apiservercel.BytesType,
	cel.DoubleType: apiservercel.DoubleType, cel.DurationType: apiservercel.DurationType, cel.IntType: apiservercel.IntType,
	cel.NullType: apiservercel.NullType, cel.StringType: apiservercel.StringType, cel.TimestampType: apiservercel.TimestampType,
	cel.UintType: apiservercel.UintType,
}
