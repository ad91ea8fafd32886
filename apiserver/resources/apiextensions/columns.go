package apiextensions

import (
	"slices"
	"strings"
	"time"

	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/columns"
)

func table() resource.Table {
	return resource.Table{
		Columns: []metav1.TableColumnDefinition{
			columns.Name(),
			columns.String("Scope", "Cluster/Namespaced"),
			columns.String("Versions", "Served versions"),
			{Name: "Created At", Type: "date", Description: metav1.ObjectMeta{}.SwaggerDoc()["creationTimestamp"]},
			columns.Wide(columns.String("Group", "API group")),
			columns.Wide(columns.String("Kind", "CustomResource kind")),
			columns.Wide(columns.String("ShortNames", "Short names")),
			columns.Wide(columns.Boolean("Established", "Established status")),
		},
		Cells: func(obj runtime.Object, _ time.Time) []any {
			crd := obj.(*apiextensionsv1.CustomResourceDefinition)
			var served []string
			for _, v := range crd.Spec.Versions {
				switch {
				case v.Served && v.Storage:
					served = append(served, v.Name+"(storage)")
				case v.Served:
					served = append(served, v.Name)
				}
			}
			slices.Sort(served)
			return []any{
				crd.Name, string(crd.Spec.Scope), strings.Join(served, ","), crd.CreationTimestamp.UTC().Format(time.RFC3339),
				crd.Spec.Group, crd.Spec.Names.Kind, strings.Join(crd.Spec.Names.ShortNames, ","),
				apihelpers.IsCRDConditionTrue(crd, apiextensionsv1.Established),
			}
		},
	}
}
