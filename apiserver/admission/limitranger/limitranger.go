// Package limitranger is the admission plugin that holds pods and claims to the
// LimitRanges of their namespace, and gives containers the resources that those name
// for whoever asks for none.
package limitranger

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"

	"github.com/strake-io/strake/apiserver/admission"
)

// Plugin implements admission.Mutator and admission.Validator. The zero value is
// ready to use.
type Plugin struct{}

// Name implements admission.Plugin.
func (Plugin) Name() string { return "LimitRanger" }

// Admit implements admission.Mutator.
func (Plugin) Admit(ctx context.Context, a *admission.Attributes) error {
	pod, ok := a.Object.(*corev1.Pod)
	if !ok {
		return nil
	}
	ranges, err := rangesFor(ctx, a)
	if err != nil {
		return err
	}
	for _, r := range ranges {
		fill(pod, r)
	}
	return nil
}

// Validate implements admission.Validator.
func (Plugin) Validate(ctx context.Context, a *admission.Attributes) error {
	ranges, err := rangesFor(ctx, a)
	if err != nil {
		return err
	}
	for _, r := range ranges {
		var errs []error
		switch obj := a.Object.(type) {
		case *corev1.Pod:
			errs = checkPod(r, obj)
		case *corev1.PersistentVolumeClaim:
			errs = checkClaim(r, obj)
		}
		if err := utilerrors.NewAggregate(errs); err != nil {
			return a.Forbidden(err)
		}
	}
	return nil
}

// rangesFor are the limits of a write; none where it is not about resources or
// about an object that is going.
func rangesFor(ctx context.Context, a *admission.Attributes) ([]*corev1.LimitRange, error) {
	if !limited(a) {
		return nil, nil
	}
	if a.Old != nil {
		if old, err := meta.Accessor(a.Old); err != nil || old.GetDeletionTimestamp() != nil {
			return nil, err
		}
	}
	all, err := a.Objects.List(ctx, corev1.Resource("limitranges"), a.Namespace)
	if err != nil {
		return nil, a.Forbidden(fmt.Errorf("unable to %s %v at this time because there was an error enforcing limit ranges", a.Operation, a.Resource))
	}
	var ranges []*corev1.LimitRange
	for _, obj := range all {
		if r, ok := obj.(*corev1.LimitRange); ok {
			ranges = append(ranges, r)
		}
	}
	return ranges, nil
}

// limited: new pods, those that are resized, and claims. The resources of a pod do
// not change by any other update.
func limited(a *admission.Attributes) bool {
	creates, updates := a.Operation == admission.Create, a.Operation == admission.Update
	switch a.Object.(type) {
	case *corev1.Pod:
		return a.Subresource == "" && creates || a.Subresource == "resize" && updates
	case *corev1.PersistentVolumeClaim:
		return a.Subresource == "" && (creates || updates)
	}
	return false
}
