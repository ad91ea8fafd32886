// Package apiregistration declares the resource apiservices: which server serves a
// group version. Package apiserver/aggregation acts on them.
package apiregistration

import (
	"time"

	"k8s.io/apimachinery/pkg/api/validation/path"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/apimachinery/pkg/util/validation/field"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"k8s.io/kube-aggregator/pkg/apis/apiregistration/v1/helper"
	"k8s.io/kube-aggregator/pkg/client/applyconfiguration"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/columns"
	"github.com/strake-io/strake/apiserver/resources/typed"
)

// Resources are the group's resources.
func Resources() []*resource.Resource {
	return []*resource.Resource{{
		GVK:        apiregistrationv1.SchemeGroupVersion.WithKind("APIService"),
		StoredForm: &resource.StoredForm{Version: "v1", JSON: true},
		Plural:     "apiservices", Categories: []string{"api-extensions"},
		StoragePrefix: "apiregistration.k8s.io/apiservices",
		New:           typed.New[apiregistrationv1.APIService], NewList: typed.New[apiregistrationv1.APIServiceList],
		Strategy: resource.Strategy{
			Default: typed.Default(setDefaults),
			PrepareForCreate: func(_ resource.Request, obj runtime.Object) {
				prepareForCreate(obj.(*apiregistrationv1.APIService), time.Now())
			},
			PrepareForUpdate: func(_ resource.Request, obj, old runtime.Object) {
				old.(*apiregistrationv1.APIService).Status.DeepCopyInto(&obj.(*apiregistrationv1.APIService).Status)
			},
			Validate: typed.Validate(validate),
			// The whole rule needs the spec: see validate.
			NameError:   path.ValidatePathSegmentName,
			ResetFields: typed.Reset("status"),
		},
		MergeSchema: mergeSchema,
		Table:       table(),
		Subresources: []resource.Subresource{{Name: "status", View: &resource.View{
			PrepareForUpdate: func(_ resource.Request, obj, old runtime.Object) {
				keepAllButStatus(obj.(*apiregistrationv1.APIService), old.(*apiregistrationv1.APIService))
			},
			Validate:    typed.Change(func(s, _ *apiregistrationv1.APIService) field.ErrorList { return validateStatus(s) }),
			ResetFields: fieldpath.NewSet(fieldpath.MakePathOrDie("spec"), fieldpath.MakePathOrDie("metadata")),
		}}},
	}}
}

// mergeSchema is the one that kube-aggregator's module ships.
func mergeSchema() (managedfields.TypeConverter, error) {
	scheme := runtime.NewScheme()
	if err := apiregistrationv1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	return applyconfiguration.NewTypeConverter(scheme), nil
}

func setDefaults(s *apiregistrationv1.APIService) {
	if s.Spec.Service != nil {
		apiregistrationv1.SetDefaults_ServiceReference(s.Spec.Service)
	}
}

func prepareForCreate(s *apiregistrationv1.APIService, now time.Time) {
	s.Status = apiregistrationv1.APIServiceStatus{}
	if s.Spec.Service == nil {
		helper.SetAPIServiceCondition(s, LocalCondition(now))
	}
}

// LocalCondition is that of a group version which this server itself serves.
func LocalCondition(now time.Time) apiregistrationv1.APIServiceCondition {
	c := helper.NewLocalAvailableAPIServiceCondition()
	c.LastTransitionTime = metav1.NewTime(now)
	return c
}

func keepAllButStatus(s, old *apiregistrationv1.APIService) {
	old.Spec.DeepCopyInto(&s.Spec)
	s.Labels, s.Annotations = old.Labels, old.Annotations
	s.Finalizers, s.OwnerReferences = old.Finalizers, old.OwnerReferences
}

func table() resource.Table {
	return resource.Table{
		Columns: []metav1.TableColumnDefinition{
			columns.Name(),
			columns.String("Service", "The reference to the service that hosts this API endpoint."),
			columns.String("Available", "Whether this service is available."),
			columns.Created(),
		},
		Cells: typed.Cells(func(s *apiregistrationv1.APIService, now time.Time) []any {
			service := "Local"
			if to := s.Spec.Service; to != nil {
				service = to.Namespace + "/" + to.Name
			}
			available := string(apiregistrationv1.ConditionUnknown)
			if c := helper.GetAPIServiceConditionByType(s, apiregistrationv1.Available); c != nil {
				available = string(c.Status)
				if c.Status != apiregistrationv1.ConditionTrue && c.Reason != "" {
					available += " (" + c.Reason + ")"
				}
			}
			return []any{s.Name, service, available, columns.Age(s.CreationTimestamp, now)}
		}),
	}
}
