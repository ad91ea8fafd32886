package storage

import (
	"fmt"
	"strings"
	"time"

	storagev1 "k8s.io/api/storage/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/columns"
	"github.com/strake-io/strake/apiserver/resources/rules"
	"github.com/strake-io/strake/apiserver/resources/typed"
	"github.com/strake-io/strake/apiserver/resources/volumes"
)

func csiDrivers() *resource.Resource {
	counted := typed.Counted(func(d *storagev1.CSIDriver) *storagev1.CSIDriverSpec { return &d.Spec })
	return &resource.Resource{
		GVK: gvk("CSIDriver"), Plural: "csidrivers", Singular: "csidriver", StoragePrefix: "csidrivers",
		New: typed.New[storagev1.CSIDriver], NewList: typed.New[storagev1.CSIDriverList],
		Strategy: resource.Strategy{
			Default:          typed.Default(defaultDriver),
			PrepareForUpdate: counted.Update, // the first generation is 0
			Validate:         typed.Validate(validateDriver),
			Warnings:         typed.Warnings(driverWarnings),
			ValidateUpdate: typed.Change(func(d, old *storagev1.CSIDriver) field.ErrorList {
				path := field.NewPath("spec")
				errs := rules.Immutable(d.Spec.AttachRequired, old.Spec.AttachRequired, path.Child("attachedRequired"))
				return append(errs, rules.Immutable(d.Spec.VolumeLifecycleModes, old.Spec.VolumeLifecycleModes, path.Child("volumeLifecycleModes"))...)
			}),
			NameError: apivalidation.NameIsDNSSubdomain, ReturnsDeleted: true,
		},
		Table: resource.Table{Columns: driverColumns(), Cells: typed.Cells(driverCells)},
	}
}

func defaultDriver(d *storagev1.CSIDriver) {
	s := &d.Spec
	for _, one := range []struct {
		field **bool
		value bool
	}{{&s.AttachRequired, true}, {&s.PodInfoOnMount, false}, {&s.StorageCapacity, false}, {&s.RequiresRepublish, false}, {&s.SELinuxMount, false}, {&s.PreventPodSchedulingIfMissing, false}} {
		if *one.field == nil {
			*one.field = ptr.To(one.value)
		}
	}
	if s.FSGroupPolicy == nil {
		s.FSGroupPolicy = ptr.To(storagev1.ReadWriteOnceWithFSTypeFSGroupPolicy)
	}
	if len(s.VolumeLifecycleModes) == 0 {
		s.VolumeLifecycleModes = []storagev1.VolumeLifecycleMode{storagev1.VolumeLifecyclePersistent}
	}
}

func validateDriver(d *storagev1.CSIDriver) field.ErrorList {
	errs := volumes.CSIDriverName(d.Name, field.NewPath("name"))
	path, s := field.NewPath("spec"), &d.Spec
	for _, one := range []struct {
		name  string
		unset bool
	}{
		{"attachedRequired", s.AttachRequired == nil}, {"podInfoOnMount", s.PodInfoOnMount == nil}, {"storageCapacity", s.StorageCapacity == nil},
		{"fsGroupPolicy", s.FSGroupPolicy == nil}, {"seLinuxMount", s.SELinuxMount == nil},
	} {
		if one.unset {
			errs = append(errs, field.Required(path.Child(one.name), ""))
		}
	}
	if s.FSGroupPolicy != nil {
		errs = append(errs, rules.OneOf(*s.FSGroupPolicy, path.Child("fsGroupPolicy"),
			storagev1.FileFSGroupPolicy, storagev1.NoneFSGroupPolicy, storagev1.ReadWriteOnceWithFSTypeFSGroupPolicy)...)
	}
	for _, mode := range s.VolumeLifecycleModes {
		errs = append(errs, rules.OneOf(mode, path.Child("volumeLifecycleModes"), storagev1.VolumeLifecyclePersistent, storagev1.VolumeLifecycleEphemeral)...)
	}
	if n := s.NodeAllocatableUpdatePeriodSeconds; n != nil && *n < 10 {
		errs = append(errs, field.Invalid(path.Child("nodeAllocatableUpdatePeriodSeconds"), *n, "must be greater than or equal to 10 seconds"))
	}
	if s.ServiceAccountTokenInSecrets != nil && len(s.TokenRequests) == 0 {
		errs = append(errs, field.Invalid(path.Child("serviceAccountTokenInSecrets"), *s.ServiceAccountTokenInSecrets, "serviceAccountTokenInSecrets is set but no tokenRequests are specified"))
	}
	return append(errs, tokenRequests(s.TokenRequests, path.Child("tokenRequests"))...)
}

func driverWarnings(d, old *storagev1.CSIDriver) []string {
	if len(d.Spec.TokenRequests) == 0 || d.Spec.ServiceAccountTokenInSecrets != nil ||
		old != nil && apiequality.Semantic.DeepEqual(d.Spec.TokenRequests, old.Spec.TokenRequests) {
		return nil
	}
	return []string{"spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent possible logging of tokens in volume attributes"}
}

func tokenRequests(requests []storagev1.TokenRequest, path *field.Path) field.ErrorList {
	const tenMinutes, most = 600, 1 << 32
	var errs field.ErrorList
	seen := map[string]bool{}
	for i, r := range requests {
		at := path.Index(i)
		if seen[r.Audience] {
			errs = append(errs, field.Duplicate(at.Child("audience"), r.Audience))
			continue
		}
		seen[r.Audience] = true
		switch n := r.ExpirationSeconds; {
		case n == nil:
		case *n < tenMinutes:
			errs = append(errs, field.Invalid(at.Child("expirationSeconds"), *n, "may not specify a duration less than 10 minutes"))
		case *n > most:
			errs = append(errs, field.Invalid(at.Child("expirationSeconds"), *n, "may not specify a duration larger than 2^32 seconds"))
		}
	}
	return errs
}

func driverColumns() []metav1.TableColumnDefinition {
	doc := storagev1.CSIDriverSpec{}.SwaggerDoc()
	return []metav1.TableColumnDefinition{
		columns.Name(), columns.Boolean("AttachRequired", doc["attachRequired"]), columns.Boolean("PodInfoOnMount", doc["podInfoOnMount"]),
		columns.Boolean("StorageCapacity", doc["storageCapacity"]), columns.String("TokenRequests", doc["tokenRequests"]),
		columns.Boolean("RequiresRepublish", doc["requiresRepublish"]), columns.String("Modes", doc["volumeLifecycleModes"]), columns.Created(),
	}
}

func driverCells(d *storagev1.CSIDriver, now time.Time) []any {
	var modes, audiences []string
	for _, m := range d.Spec.VolumeLifecycleModes {
		modes = append(modes, string(m))
	}
	for _, r := range d.Spec.TokenRequests {
		audiences = append(audiences, r.Audience)
	}
	tokens := "<unset>"
	if d.Spec.TokenRequests != nil {
		tokens = strings.Join(audiences, ",")
	}
	if len(modes) == 0 {
		modes = []string{"<none>"}
	}
	return []any{
		d.Name, ptr.Deref(d.Spec.AttachRequired, true), ptr.Deref(d.Spec.PodInfoOnMount, false), ptr.Deref(d.Spec.StorageCapacity, false),
		tokens, ptr.Deref(d.Spec.RequiresRepublish, false), strings.Join(modes, ","), columns.Age(d.CreationTimestamp, now),
	}
}

func csiNodes() *resource.Resource {
	return &resource.Resource{
		GVK: gvk("CSINode"), Plural: "csinodes", Singular: "csinode", StoragePrefix: "csinodes",
		New: typed.New[storagev1.CSINode], NewList: typed.New[storagev1.CSINodeList],
		Strategy: resource.Strategy{
			// What drivers say of the health of storage is not served by default.
			PrepareForCreate: func(_ resource.Request, obj runtime.Object) {
				obj.(*storagev1.CSINode).Status = storagev1.CSINodeStatus{}
			},
			PrepareForUpdate: func(_ resource.Request, obj, old runtime.Object) {
				obj.(*storagev1.CSINode).Status = old.(*storagev1.CSINode).Status
			},
			ResetFields: typed.Reset("status"),
			Validate: typed.Validate(func(n *storagev1.CSINode) field.ErrorList {
				return validateNodeDrivers(n.Spec.Drivers, field.NewPath("spec", "drivers"))
			}),
			ValidateUpdate: typed.Change(validateNodeUpdate),
			NameError:      apivalidation.NameIsDNSSubdomain, ReturnsDeleted: true,
		},
		Table: resource.Table{
			Columns: []metav1.TableColumnDefinition{
				columns.Name(), columns.Integer("Drivers", "Drivers indicates the number of CSI drivers registered on the node"), columns.Created(),
			},
			Cells: typed.Cells(func(n *storagev1.CSINode, now time.Time) []any {
				return []any{n.Name, int64(len(n.Spec.Drivers)), columns.Age(n.CreationTimestamp, now)}
			}),
		},
		Subresources: []resource.Subresource{{Name: "status", View: &resource.View{
			// The health of storage is all there is in a status, and is off by default.
			PrepareForUpdate: func(_ resource.Request, obj, old runtime.Object) {
				n, was := obj.(*storagev1.CSINode), old.(*storagev1.CSINode)
				n.Spec, n.Status = was.Spec, was.Status
				n.OwnerReferences, n.Labels, n.Annotations = was.OwnerReferences, was.Labels, was.Annotations
			},
			ResetFields: typed.Reset("metadata", "spec"),
		}}},
	}
}

// maxNodeID is the longest that CSI allows, in bytes.
const maxNodeID = 256

func validateNodeDrivers(drivers []storagev1.CSINodeDriver, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	seen := map[string]bool{}
	for i := range drivers {
		d, at := &drivers[i], path.Index(i)
		errs = append(errs, volumes.CSIDriverName(d.Name, at.Child("name"))...)
		if seen[d.Name] {
			errs = append(errs, field.Duplicate(at.Child("name"), d.Name))
		}
		seen[d.Name] = true
		switch {
		case d.NodeID == "":
			errs = append(errs, field.Required(at.Child("nodeID"), d.NodeID))
		case len(d.NodeID) > maxNodeID:
			errs = append(errs, field.Invalid(at.Child("nodeID"), d.NodeID, fmt.Sprintf("must be %d characters or less", maxNodeID)))
		}
		if d.Allocatable != nil && d.Allocatable.Count != nil {
			errs = append(errs, rules.NonNegative(int64(*d.Allocatable.Count), at.Child("allocatable", "count"))...)
		}
		keys := map[string]bool{}
		for _, key := range d.TopologyKeys {
			// Upstream's paths end at the driver.
			if key == "" {
				errs = append(errs, field.Required(at, ""))
			}
			if keys[key] {
				errs = append(errs, field.Duplicate(at, key))
			}
			keys[key] = true
			errs = append(errs, rules.Matches(key, at, validation.IsQualifiedName(key))...)
		}
	}
	return errs
}

// validateNodeUpdate: a driver comes and goes, but does not change; how much it can
// attach does.
func validateNodeUpdate(n, old *storagev1.CSINode) field.ErrorList {
	var errs field.ErrorList
	for _, was := range old.Spec.Drivers {
		was.Allocatable = nil
		for _, d := range n.Spec.Drivers {
			if d.Name == was.Name {
				d.Allocatable = nil
				errs = append(errs, rules.ImmutableInternal(d, was, field.NewPath("spec", "drivers"))...)
			}
		}
	}
	return errs
}

func csiStorageCapacities() *resource.Resource {
	return &resource.Resource{
		GVK: gvk("CSIStorageCapacity"), Plural: "csistoragecapacities", Singular: "csistoragecapacity", Namespaced: true, StoragePrefix: "csistoragecapacities",
		New: typed.New[storagev1.CSIStorageCapacity], NewList: typed.New[storagev1.CSIStorageCapacityList],
		Strategy: resource.Strategy{
			Validate: typed.Validate(func(c *storagev1.CSIStorageCapacity) field.ErrorList {
				var errs field.ErrorList
				if at := field.NewPath("storageClassName"); c.StorageClassName == "" {
					errs = append(errs, rules.Matches(c.StorageClassName, at, apivalidation.NameIsDNSSubdomain("", false))...)
				} else {
					errs = append(errs, volumes.ClassName(&c.StorageClassName, at)...)
				}
				if c.NodeTopology != nil {
					errs = append(errs, rules.Selector(c.NodeTopology, field.NewPath("nodeTopology"))...)
				}
				if c.Capacity != nil && c.Capacity.Sign() < 0 {
					errs = append(errs, field.Invalid(field.NewPath("capacity"), c.Capacity.String(), "must be greater than or equal to 0"))
				}
				return errs
			}),
			ValidateUpdate: typed.Change(func(c, old *storagev1.CSIStorageCapacity) field.ErrorList {
				errs := rules.Immutable(c.NodeTopology, old.NodeTopology, field.NewPath("nodeTopology"))
				return append(errs, rules.Immutable(c.StorageClassName, old.StorageClassName, field.NewPath("storageClassName"))...)
			}),
			NameError: apivalidation.NameIsDNSSubdomain,
		},
		Table: resource.Table{
			Columns: []metav1.TableColumnDefinition{
				columns.Name(), columns.String("StorageClassName", storagev1.CSIStorageCapacity{}.SwaggerDoc()["storageClassName"]),
				columns.String("Capacity", storagev1.CSIStorageCapacity{}.SwaggerDoc()["capacity"]),
			},
			Cells: typed.Cells(func(c *storagev1.CSIStorageCapacity, _ time.Time) []any {
				capacity := "<unset>"
				if c.Capacity != nil {
					capacity = c.Capacity.String()
				}
				return []any{c.Name, c.StorageClassName, capacity}
			}),
		},
	}
}
