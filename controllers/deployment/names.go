package deployment

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/utils/dump"
)

// templateHash is the value of the pod-template-hash label and the end of the
// replica set's name. It is the value Kubernetes gives the same template under
// the same version of the API types, so that a replica set has one name
// whichever of the two made it. Nothing depends on that: existing replica sets
// are recognised by their template.
func templateHash(t *corev1.PodTemplateSpec, collisions *int32) string {
	h := fnv.New32a()
	fmt.Fprintf(h, "%v", dump.ForHash(*t))
	if collisions != nil {
		var salt [8]byte
		binary.LittleEndian.PutUint32(salt[:], uint32(*collisions))
		h.Write(salt[:])
	}
	return rand.SafeEncodeString(fmt.Sprint(h.Sum32()))
}
