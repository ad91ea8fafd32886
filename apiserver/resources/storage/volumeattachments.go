package storage

import (
	"math"
	"time"

	storagev1 "k8s.io/api/storage/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/columns"
	"github.com/strake-io/strake/apiserver/resources/rules"
	"github.com/strake-io/strake/apiserver/resources/typed"
	"github.com/strake-io/strake/apiserver/resources/volumes"
)

func volumeAttachments() *resource.Resource {
	return &resource.Resource{
		GVK: gvk("VolumeAttachment"), Plural: "volumeattachments", Singular: "volumeattachment", StoragePrefix: "volumeattachments",
		New: typed.New[storagev1.VolumeAttachment], NewList: typed.New[storagev1.VolumeAttachmentList],
		Strategy: resource.Strategy{
			PrepareForCreate: func(_ resource.Request, obj runtime.Object) {
				obj.(*storagev1.VolumeAttachment).Status = storagev1.VolumeAttachmentStatus{}
			},
			PrepareForUpdate: func(_ resource.Request, obj, old runtime.Object) {
				obj.(*storagev1.VolumeAttachment).Status = old.(*storagev1.VolumeAttachment).Status
			},
			Validate: typed.Validate(func(a *storagev1.VolumeAttachment) field.ErrorList {
				return append(rules.Driver(a.Spec.Attacher, field.NewPath("spec", "attacher")), validateAttachment(&a.Spec, field.NewPath("spec"))...)
			}),
			ValidateChange: typed.Change(func(a, old *storagev1.VolumeAttachment) field.ErrorList {
				errs := append(volumes.CSIDriverName(a.Spec.Attacher, field.NewPath("spec", "attacher")), validateAttachment(&a.Spec, field.NewPath("spec"))...)
				if !apiequality.Semantic.DeepEqual(a.Spec, old.Spec) {
					// Upstream does not show it.
					errs = append(errs, field.Invalid(field.NewPath("spec"), nil, apivalidation.FieldImmutableErrorMsg))
				}
				return errs
			}),
			NameError: apivalidation.NameIsDNSSubdomain, ReturnsDeleted: true,
			ResetFields: typed.Reset("status"),
		},
		Table: resource.Table{
			Columns: attachmentColumns(),
			Cells: typed.Cells(func(a *storagev1.VolumeAttachment, now time.Time) []any {
				name := ""
				if a.Spec.Source.PersistentVolumeName != nil {
					name = *a.Spec.Source.PersistentVolumeName
				}
				return []any{a.Name, a.Spec.Attacher, name, a.Spec.NodeName, a.Status.Attached, columns.Age(a.CreationTimestamp, now)}
			}),
		},
		Subresources: []resource.Subresource{{Name: "status", View: &resource.View{
			PrepareForUpdate: func(_ resource.Request, obj, old runtime.Object) {
				a, was := obj.(*storagev1.VolumeAttachment), old.(*storagev1.VolumeAttachment)
				a.Spec = was.Spec
				a.OwnerReferences, a.Labels, a.Annotations = was.OwnerReferences, was.Labels, was.Annotations
			},
			Validate: typed.Change(func(a, _ *storagev1.VolumeAttachment) field.ErrorList {
				return validateAttachmentStatus(&a.Status, field.NewPath("status"))
			}),
			ResetFields: typed.Reset("spec"),
		}}},
	}
}

func validateAttachment(s *storagev1.VolumeAttachmentSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if at := path.Child("source"); (s.Source.PersistentVolumeName == nil) == (s.Source.InlineVolumeSpec == nil) {
		message := "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
		if s.Source.PersistentVolumeName == nil {
			errs = append(errs, field.Required(at, message))
		} else {
			errs = append(errs, field.Forbidden(at, message))
		}
	} else if name := s.Source.PersistentVolumeName; name != nil {
		if *name == "" {
			errs = append(errs, field.Required(at.Child("persistentVolumeName"), "must specify non empty persistentVolumeName"))
		}
	}
	if name := s.Source.PersistentVolumeName; name != nil {
		errs = append(errs, rules.Subdomain(*name, path.Child("source", "persistentVolumeName"))...)
	}
	return append(errs, rules.Matches(s.NodeName, path.Child("nodeName"), apivalidation.NameIsDNSSubdomain(s.NodeName, false))...)
}

// Bounds on what is said of an attachment, upstream's, in bytes.
const (
	maxAttachmentMetadata = 256 << 10
	maxAttachmentError    = 1024
)

func validateAttachmentStatus(s *storagev1.VolumeAttachmentStatus, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	size := 0
	for k, v := range s.AttachmentMetadata {
		size += len(k) + len(v)
	}
	if size > maxAttachmentMetadata {
		errs = append(errs, field.TooLong(path.Child("attachmentMetadata"), "", maxAttachmentMetadata))
	}
	for _, one := range []struct {
		name string
		err  *storagev1.VolumeError
	}{{"attachError", s.AttachError}, {"detachError", s.DetachError}} {
		if one.err == nil {
			continue
		}
		at := path.Child(one.name)
		if len(one.err.Message) > maxAttachmentError {
			errs = append(errs, field.TooLong(at.Child("message"), "", maxAttachmentError))
		}
		if n := one.err.ErrorCode; n != nil && *n < 0 {
			errs = append(errs, field.Invalid(at.Child("errorCode"), *n, validation.InclusiveRangeError(0, math.MaxInt32)))
		}
	}
	return errs
}

func attachmentColumns() []metav1.TableColumnDefinition {
	spec := storagev1.VolumeAttachmentSpec{}.SwaggerDoc()
	return []metav1.TableColumnDefinition{
		columns.Name(), columns.String("Attacher", spec["attacher"]),
		columns.String("PV", storagev1.VolumeAttachmentSource{}.SwaggerDoc()["persistentVolumeName"]),
		columns.String("Node", spec["nodeName"]),
		columns.String("Attached", storagev1.VolumeAttachmentStatus{}.SwaggerDoc()["attached"]), columns.Created(),
	}
}
