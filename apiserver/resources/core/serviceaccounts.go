package core

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/strake-io/strake/apiserver/authn/tokens"
	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/columns"
)

func serviceAccounts(issuer *tokens.Issuer) *resource.Resource {
	return &resource.Resource{
		GVK: gvk("ServiceAccount"), Plural: "serviceaccounts", Singular: "serviceaccount", ShortNames: []string{"sa"},
		Namespaced: true, StoragePrefix: "serviceaccounts",
		New:     func() runtime.Object { return &corev1.ServiceAccount{} },
		NewList: func() runtime.Object { return &corev1.ServiceAccountList{} },
		Strategy: resource.Strategy{
			PrepareForCreate: func(_ resource.Request, obj runtime.Object) { onlyNames(obj.(*corev1.ServiceAccount)) },
			PrepareForUpdate: func(_ resource.Request, obj, _ runtime.Object) { onlyNames(obj.(*corev1.ServiceAccount)) },
			Warnings: func(obj, old runtime.Object) []string {
				const key = "kubernetes.io/enforce-mountable-secrets"
				if old != nil && metav1.HasAnnotation(old.(*corev1.ServiceAccount).ObjectMeta, key) || !metav1.HasAnnotation(obj.(*corev1.ServiceAccount).ObjectMeta, key) {
					return nil
				}
				return []string{"metadata.annotations[" + key + "]: deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets"}
			},
			NameError:                apivalidation.NameIsDNSSubdomain,
			AllowUnconditionalUpdate: true,
			ReturnsDeleted:           true,
		},
		Table: resource.Table{
			Columns: []metav1.TableColumnDefinition{
				columns.Name(), columns.Integer("Secrets", corev1.ServiceAccount{}.SwaggerDoc()["secrets"]), columns.Created(),
			},
			Cells: func(obj runtime.Object, now time.Time) []any {
				sa := obj.(*corev1.ServiceAccount)
				return []any{sa.Name, int64(len(sa.Secrets)), columns.Age(sa.CreationTimestamp, now)}
			},
		},
		Subresources: []resource.Subresource{tokenSubresource(issuer)},
	}
}

// onlyNames keeps of the references to secrets what means anything.
func onlyNames(sa *corev1.ServiceAccount) {
	for i := range sa.Secrets {
		sa.Secrets[i] = corev1.ObjectReference{Name: sa.Secrets[i].Name}
	}
}
