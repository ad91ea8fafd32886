package core

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/columns"
)

func services(cfg Config) *resource.Resource {
	pools := servicePools{addresses: cfg.Addresses, ports: cfg.Ports}
	return &resource.Resource{
		GVK: gvk("Service"), Plural: "services", Singular: "service", ShortNames: []string{"svc"}, Categories: []string{"all"},
		Namespaced: true, StoragePrefix: "services/specs",
		New:     func() runtime.Object { return &corev1.Service{} },
		NewList: func() runtime.Object { return &corev1.ServiceList{} },
		Strategy: resource.Strategy{
			Default:          func(obj runtime.Object) { defaultService(obj.(*corev1.Service)) },
			PrepareForCreate: func(_ resource.Request, obj runtime.Object) { pools.prepareCreate(obj.(*corev1.Service)) },
			PrepareForUpdate: func(_ resource.Request, obj, old runtime.Object) {
				pools.prepareUpdate(obj.(*corev1.Service), old.(*corev1.Service))
			},
			Validate: func(obj runtime.Object) field.ErrorList {
				s := obj.(*corev1.Service)
				if bad := pools.validateChoice(s, nil); len(bad) > 0 {
					return bad
				}
				return validateService(s, nil)
			},
			ValidateChange: func(obj, old runtime.Object) field.ErrorList {
				s, was := obj.(*corev1.Service), old.(*corev1.Service)
				if bad := pools.validateChoice(s, was); len(bad) > 0 {
					return bad
				}
				return append(validateServiceUpdate(s, was), validateService(s, was)...)
			},
			NameError:                apivalidation.NameIsDNSLabel,
			Warnings:                 func(obj, _ runtime.Object) []string { return serviceWarnings(obj.(*corev1.Service)) },
			Begin:                    pools.begin,
			AllowCreateOnUpdate:      true,
			AllowUnconditionalUpdate: true,
			ReturnsDeleted:           true,
			ResetFields:              statusReset(),
		},
		Table: resource.Table{Columns: serviceColumns(), Cells: serviceCells},
		SelectableFields: func(obj runtime.Object) fields.Set {
			s := obj.(*corev1.Service)
			return fields.Set{"spec.clusterIP": s.Spec.ClusterIP, "spec.type": string(s.Spec.Type)}
		},
		Subresources: []resource.Subresource{
			{Name: "proxy", GVK: gvk("ServiceProxyOptions"), New: func() runtime.Object { return &corev1.ServiceProxyOptions{} }, Verbs: proxyVerbs, Connect: connectService(cfg.Nodes, cfg.IntN)},
			{Name: "status", View: &resource.View{
				PrepareForUpdate: func(_ resource.Request, obj, old runtime.Object) {
					obj.(*corev1.Service).Spec = old.(*corev1.Service).Spec
				},
				Validate: func(obj, old runtime.Object) field.ErrorList {
					return validateServiceStatus(obj.(*corev1.Service), old.(*corev1.Service))
				},
				ResetFields: specReset(),
			}},
		},
	}
}

func serviceColumns() []metav1.TableColumnDefinition {
	spec := corev1.ServiceSpec{}.SwaggerDoc()
	return []metav1.TableColumnDefinition{
		columns.Name(),
		columns.String("Type", spec["type"]),
		columns.String("Cluster-IP", spec["clusterIP"]),
		columns.String("External-IP", spec["externalIPs"]),
		columns.String("Port(s)", spec["ports"]),
		columns.Created(),
		columns.Wide(columns.String("Selector", spec["selector"])),
	}
}

func serviceCells(obj runtime.Object, now time.Time) []any {
	s := obj.(*corev1.Service)
	ip := s.Spec.ClusterIP
	if len(s.Spec.ClusterIPs) > 0 {
		ip = s.Spec.ClusterIPs[0]
	}
	ports := make([]string, len(s.Spec.Ports))
	for i, p := range s.Spec.Ports {
		ports[i] = fmt.Sprintf("%d/%s", p.Port, p.Protocol)
		if p.NodePort > 0 {
			ports[i] = fmt.Sprintf("%d:%d/%s", p.Port, p.NodePort, p.Protocol)
		}
	}
	return []any{
		s.Name, string(s.Spec.Type), columns.None(ip), externalAddress(s),
		columns.None(strings.Join(ports, ",")), columns.Age(s.CreationTimestamp, now), columns.Labels(s.Spec.Selector),
	}
}

// externalAddress is where a service is reached from outside the cluster.
func externalAddress(s *corev1.Service) string {
	external := strings.Join(s.Spec.ExternalIPs, ",")
	switch s.Spec.Type {
	case corev1.ServiceTypeClusterIP, corev1.ServiceTypeNodePort:
		return columns.None(external)
	case corev1.ServiceTypeExternalName:
		return s.Spec.ExternalName
	case corev1.ServiceTypeLoadBalancer:
		balancers := sets.New[string]()
		for _, i := range s.Status.LoadBalancer.Ingress {
			if i.IP != "" {
				balancers.Insert(i.IP)
			} else if i.Hostname != "" {
				balancers.Insert(i.Hostname)
			}
		}
		all := strings.Join(sets.List(balancers), ",")
		switch {
		case external != "" && all != "":
			return all + "," + external
		case external != "":
			return external
		case all != "":
			return all
		}
		return "<pending>"
	}
	return "<unknown>"
}
