package podspec

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// ContainerResourceName checks the name of a resource that containers ask for.
func ContainerResourceName(name corev1.ResourceName, path *field.Path) field.ErrorList {
	return containerResource(name, path)
}
