package apiserver

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers/admissionregistration"
	"k8s.io/client-go/informers/apiserverinternal"
	"k8s.io/client-go/informers/apps"
	"k8s.io/client-go/informers/autoscaling"
	"k8s.io/client-go/informers/batch"
	"k8s.io/client-go/informers/certificates"
	"k8s.io/client-go/informers/coordination"
	"k8s.io/client-go/informers/core"
	"k8s.io/client-go/informers/discovery"
	"k8s.io/client-go/informers/events"
	"k8s.io/client-go/informers/extensions"
	"k8s.io/client-go/informers/flowcontrol"
	"k8s.io/client-go/informers/lifecycle"
	"k8s.io/client-go/informers/networking"
	"k8s.io/client-go/informers/node"
	"k8s.io/client-go/informers/policy"
	"k8s.io/client-go/informers/rbac"
	"k8s.io/client-go/informers/resource"
	"k8s.io/client-go/informers/scheduling"
	"k8s.io/client-go/informers/storage"
	"k8s.io/client-go/informers/storagemigration"
)

// The typed accessors of client-go's factories make their informers through the
// factory that they were made with, so each group has to be made with this one.

// Admissionregistration implements informers.SharedInformerFactory.
func (f *informerFactory) Admissionregistration() admissionregistration.Interface {
	return admissionregistration.New(f, metav1.NamespaceAll, nil)
}

// Internal implements informers.SharedInformerFactory.
func (f *informerFactory) Internal() apiserverinternal.Interface {
	return apiserverinternal.New(f, metav1.NamespaceAll, nil)
}

// Apps implements informers.SharedInformerFactory.
func (f *informerFactory) Apps() apps.Interface {
	return apps.New(f, metav1.NamespaceAll, nil)
}

// Autoscaling implements informers.SharedInformerFactory.
func (f *informerFactory) Autoscaling() autoscaling.Interface {
	return autoscaling.New(f, metav1.NamespaceAll, nil)
}

// Batch implements informers.SharedInformerFactory.
func (f *informerFactory) Batch() batch.Interface {
	return batch.New(f, metav1.NamespaceAll, nil)
}

// Certificates implements informers.SharedInformerFactory.
func (f *informerFactory) Certificates() certificates.Interface {
	return certificates.New(f, metav1.NamespaceAll, nil)
}

// Coordination implements informers.SharedInformerFactory.
func (f *informerFactory) Coordination() coordination.Interface {
	return coordination.New(f, metav1.NamespaceAll, nil)
}

// Core implements informers.SharedInformerFactory.
func (f *informerFactory) Core() core.Interface {
	return core.New(f, metav1.NamespaceAll, nil)
}

// Discovery implements informers.SharedInformerFactory.
func (f *informerFactory) Discovery() discovery.Interface {
	return discovery.New(f, metav1.NamespaceAll, nil)
}

// Events implements informers.SharedInformerFactory.
func (f *informerFactory) Events() events.Interface {
	return events.New(f, metav1.NamespaceAll, nil)
}

// Extensions implements informers.SharedInformerFactory.
func (f *informerFactory) Extensions() extensions.Interface {
	return extensions.New(f, metav1.NamespaceAll, nil)
}

// Flowcontrol implements informers.SharedInformerFactory.
func (f *informerFactory) Flowcontrol() flowcontrol.Interface {
	return flowcontrol.New(f, metav1.NamespaceAll, nil)
}

// Lifecycle implements informers.SharedInformerFactory.
func (f *informerFactory) Lifecycle() lifecycle.Interface {
	return lifecycle.New(f, metav1.NamespaceAll, nil)
}

// Networking implements informers.SharedInformerFactory.
func (f *informerFactory) Networking() networking.Interface {
	return networking.New(f, metav1.NamespaceAll, nil)
}

// Node implements informers.SharedInformerFactory.
func (f *informerFactory) Node() node.Interface {
	return node.New(f, metav1.NamespaceAll, nil)
}

// Policy implements informers.SharedInformerFactory.
func (f *informerFactory) Policy() policy.Interface {
	return policy.New(f, metav1.NamespaceAll, nil)
}

// Rbac implements informers.SharedInformerFactory.
func (f *informerFactory) Rbac() rbac.Interface {
	return rbac.New(f, metav1.NamespaceAll, nil)
}

// Resource implements informers.SharedInformerFactory.
func (f *informerFactory) Resource() resource.Interface {
	return resource.New(f, metav1.NamespaceAll, nil)
}

// Scheduling implements informers.SharedInformerFactory.
func (f *informerFactory) Scheduling() scheduling.Interface {
	return scheduling.New(f, metav1.NamespaceAll, nil)
}

// Storage implements informers.SharedInformerFactory.
func (f *informerFactory) Storage() storage.Interface {
	return storage.New(f, metav1.NamespaceAll, nil)
}

// Storagemigration implements informers.SharedInformerFactory.
func (f *informerFactory) Storagemigration() storagemigration.Interface {
	return storagemigration.New(f, metav1.NamespaceAll, nil)
}
