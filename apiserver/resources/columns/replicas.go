package columns

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Replicas are the columns of what keeps a number of pods, with the descriptions
// of its spec's and status's fields by name.
func Replicas(spec, status map[string]string) []metav1.TableColumnDefinition {
	return []metav1.TableColumnDefinition{
		Name(),
		Integer("Desired", spec["replicas"]),
		Integer("Current", status["replicas"]),
		Integer("Ready", status["readyReplicas"]),
		Created(),
		Wide(String("Containers", "Names of each container in the template.")),
		Wide(String("Images", "Images referenced by each container in the template.")),
		Wide(String("Selector", spec["selector"])),
	}
}
