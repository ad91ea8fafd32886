package flowcontrol

import (
	"slices"
	"strconv"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/apis/flowcontrol/bootstrap"
)

// FieldManager is upstream's for who writes the built-in objects.
const FieldManager = "api-priority-and-fairness-config-producer-v1"

func mandatorySchema(name string) *flowcontrolv1.FlowSchema {
	return find(bootstrap.MandatoryFlowSchemas, name)
}

func mandatoryLevel(name string) *flowcontrolv1.PriorityLevelConfiguration {
	return find(bootstrap.MandatoryPriorityLevelConfigurations, name)
}

func find[T metav1.Object](all []T, name string) (none T) {
	if i := slices.IndexFunc(all, func(o T) bool { return o.GetName() == name }); i >= 0 {
		return all[i]
	}
	return none
}

// Objects are what a cluster lacks of the built-in flow schemas and priority levels.
// To create them is enough in a new cluster; those to update are there in another
// form than they must have.
type Objects struct {
	CreateSchemas, UpdateSchemas []*flowcontrolv1.FlowSchema
	CreateLevels, UpdateLevels   []*flowcontrolv1.PriorityLevelConfiguration
}

// Missing compares a cluster's objects with the built-in ones. Mandatory ones must have
// their fixed spec, but for the shares of the level "exempt". Suggested ones follow
// unless a user took them over: by the annotation apf.kubernetes.io/autoupdate-spec, or,
// where that is not there, by having changed them.
func Missing(schemas []*flowcontrolv1.FlowSchema, levels []*flowcontrolv1.PriorityLevelConfiguration) Objects {
	var out Objects
	for _, group := range []struct {
		mandatory bool
		schemas   []*flowcontrolv1.FlowSchema
		levels    []*flowcontrolv1.PriorityLevelConfiguration
	}{
		{true, bootstrap.MandatoryFlowSchemas, bootstrap.MandatoryPriorityLevelConfigurations},
		{false, bootstrap.SuggestedFlowSchemas, bootstrap.SuggestedPriorityLevelConfigurations},
	} {
		for _, want := range group.levels {
			have := find(levels, want.Name)
			if have == nil {
				out.CreateLevels = append(out.CreateLevels, want.DeepCopy())
				continue
			}
			spec := want.Spec.DeepCopy()
			if group.mandatory && want.Name == flowcontrolv1.PriorityLevelConfigurationNameExempt {
				spec.Exempt = have.Spec.Exempt
			}
			follow := group.mandatory || follows(have)
			if same := apiequality.Semantic.DeepEqual(&have.Spec, spec); follow && !same || !says(have, follow) {
				have = have.DeepCopy()
				say(have, follow)
				if follow {
					have.Spec = *spec
				}
				out.UpdateLevels = append(out.UpdateLevels, have)
			}
		}
		for _, want := range group.schemas {
			have := find(schemas, want.Name)
			if have == nil {
				out.CreateSchemas = append(out.CreateSchemas, want.DeepCopy())
				continue
			}
			follow := group.mandatory || follows(have)
			if same := apiequality.Semantic.DeepEqual(have.Spec, want.Spec); follow && !same || !says(have, follow) {
				have = have.DeepCopy()
				say(have, follow)
				if follow {
					want.Spec.DeepCopyInto(&have.Spec)
				}
				out.UpdateSchemas = append(out.UpdateSchemas, have)
			}
		}
	}
	return out
}

// follows says whether a suggested object is still the cluster's to change.
func follows(o metav1.Object) bool {
	if b, err := strconv.ParseBool(o.GetAnnotations()[flowcontrolv1.AutoUpdateAnnotationKey]); err == nil {
		return b
	}
	return o.GetGeneration() == 1
}

func says(o metav1.Object, follow bool) bool {
	b, err := strconv.ParseBool(o.GetAnnotations()[flowcontrolv1.AutoUpdateAnnotationKey])
	return err == nil && b == follow
}

func say(o metav1.Object, follow bool) {
	annotations := o.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[flowcontrolv1.AutoUpdateAnnotationKey] = strconv.FormatBool(follow)
	o.SetAnnotations(annotations)
}
