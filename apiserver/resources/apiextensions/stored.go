package apiextensions

import (
	"fmt"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1beta1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/strake-io/strake/apiserver/resource"
)

// storedForm: upstream stores definitions as v1beta1 to this day, though it serves
// that no more.
func storedForm() *resource.StoredForm {
	return &resource.StoredForm{
		Version: v1beta1.SchemeGroupVersion.Version, JSON: true,
		New: func() runtime.Object { return &v1beta1.CustomResourceDefinition{} },
		To: func(obj runtime.Object) (runtime.Object, error) {
			definition, ok := obj.(*apiextensionsv1.CustomResourceDefinition)
			if !ok {
				return nil, fmt.Errorf("%T is no definition", obj)
			}
			var between apiextensions.CustomResourceDefinition
			if err := apiextensionsv1.Convert_v1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition(definition.DeepCopy(), &between, nil); err != nil {
				return nil, err
			}
			stored := &v1beta1.CustomResourceDefinition{}
			return stored, v1beta1.Convert_apiextensions_CustomResourceDefinition_To_v1beta1_CustomResourceDefinition(&between, stored, nil)
		},
		From: func(obj runtime.Object) (runtime.Object, error) {
			stored, ok := obj.(*v1beta1.CustomResourceDefinition)
			if !ok {
				return nil, fmt.Errorf("%T is no stored definition", obj)
			}
			var between apiextensions.CustomResourceDefinition
			if err := v1beta1.Convert_v1beta1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition(stored, &between, nil); err != nil {
				return nil, err
			}
			definition := &apiextensionsv1.CustomResourceDefinition{}
			return definition, apiextensionsv1.Convert_apiextensions_CustomResourceDefinition_To_v1_CustomResourceDefinition(&between, definition, nil)
		},
	}
}
