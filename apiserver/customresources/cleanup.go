package customresources

import (
	"context"
	"fmt"
	"slices"
	"time"

	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/strake-io/strake/apiserver/resource"
)

const (
	// goneWithin is how long a cleanup waits for the finalizers of objects before
	// it says in the definition's status that it waits. It goes on after that.
	goneWithin = time.Minute
	// The time between looks for objects that are left.
	lookMin, lookMax = 10 * time.Millisecond, time.Second
)

// clean deletes the objects of a definition that is being deleted, and lets it go
// then. It runs beside the manager, which hears of its end.
func (m *Manager) clean(ctx context.Context, crd *apiextensionsv1.CustomResourceDefinition) {
	m.cleaners.Go(func() {
		over, err := m.cleanUp(ctx, crd.DeepCopy())
		if over {
			return // the manager hears of it by the watch
		}
		if err != nil && ctx.Err() == nil {
			m.config.Logger.Error(err, "Could not delete the objects of a custom resource definition", "name", crd.Name)
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
		select {
		case m.cleaned <- string(crd.UID):
		case <-ctx.Done():
		}
	})
}

// cleanUp is over once the definition is let go; else it has to be tried again.
func (m *Manager) cleanUp(ctx context.Context, crd *apiextensionsv1.CustomResourceDefinition) (over bool, err error) {
	crd, err = m.report(ctx, crd, condition(apiextensionsv1.ConditionTrue, "InstanceDeletionInProgress", "CustomResource deletion is in progress"))
	if err != nil || crd == nil {
		return false, err
	}
	done := condition(apiextensionsv1.ConditionFalse, "NeverEstablished", "resource was never established")
	if established(crd) {
		var failure error
		if done, failure = m.deleteObjects(ctx, crd); failure != nil {
			if _, err := m.report(ctx, crd, done); err != nil {
				return false, err
			}
			return false, failure
		}
	}
	crd.Finalizers = slices.DeleteFunc(slices.Clone(crd.Finalizers), func(f string) bool { return f == apiextensionsv1.CustomResourceCleanupFinalizer })
	released, err := m.report(ctx, crd, done)
	return released != nil, err
}

func condition(status apiextensionsv1.ConditionStatus, reason, message string) apiextensionsv1.CustomResourceDefinitionCondition {
	return apiextensionsv1.CustomResourceDefinitionCondition{Type: apiextensionsv1.Terminating, Status: status, Reason: reason, Message: message}
}

// report writes a condition. The result is nil where the definition changed or went
// meanwhile: then the manager starts over.
func (m *Manager) report(ctx context.Context, crd *apiextensionsv1.CustomResourceDefinition, c apiextensionsv1.CustomResourceDefinitionCondition) (*apiextensionsv1.CustomResourceDefinition, error) {
	before := apihelpers.FindCRDCondition(crd, c.Type)
	if before != nil && before.Status == c.Status && before.Reason == c.Reason && before.Message == c.Message && len(crd.Finalizers) > 0 && c.Status == apiextensionsv1.ConditionTrue {
		return crd, nil
	}
	setCondition(crd, c, time.Now())
	written, err := m.config.Client.UpdateStatus(ctx, crd, metav1.UpdateOptions{})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil, nil
	}
	return written, err
}

var cleaner = &user.DefaultInfo{Name: user.APIServerUser, Groups: []string{user.SystemPrivilegedGroup}}

func (m *Manager) deleteObjects(ctx context.Context, crd *apiextensionsv1.CustomResourceDefinition) (apiextensionsv1.CustomResourceDefinitionCondition, error) {
	of := schema.GroupResource{Group: crd.Spec.Group, Resource: crd.Status.AcceptedNames.Plural}
	objects := m.config.Server.Objects()
	failed := func(format string, err error) (apiextensionsv1.CustomResourceDefinitionCondition, error) {
		return condition(apiextensionsv1.ConditionTrue, "InstanceDeletionFailed", fmt.Sprintf(format, err)), err
	}
	deadline := time.Now().Add(goneWithin)
	asked := map[string]bool{}
	for pause := lookMin; ; pause = min(2*pause, lookMax) {
		left, err := objects.List(ctx, of, metav1.NamespaceAll)
		if err != nil {
			return failed("could not list instances: %v", err)
		}
		if len(left) == 0 {
			return condition(apiextensionsv1.ConditionFalse, "InstanceDeletionCompleted", "removed all instances"), nil
		}
		var errs []error
		for _, obj := range left {
			accessor, err := meta.Accessor(obj)
			if err != nil || asked[string(accessor.GetUID())] {
				continue
			}
			req := resource.Request{User: cleaner, Verb: "delete"}
			if _, err = objects.Delete(ctx, req, of, accessor.GetNamespace(), accessor.GetName(), nil); err != nil && !apierrors.IsNotFound(err) {
				errs = append(errs, err)
				continue
			}
			asked[string(accessor.GetUID())] = true
		}
		if err := utilerrors.NewAggregate(errs); err != nil {
			return failed("could not issue all deletes: %v", err)
		}
		if time.Now().After(deadline) {
			err := fmt.Errorf("%d objects are left", len(left))
			return condition(apiextensionsv1.ConditionTrue, "InstanceDeletionCheck", fmt.Sprintf("could not confirm zero CustomResources remaining: %v", err)), err
		}
		select {
		case <-ctx.Done():
			return failed("%v", ctx.Err())
		case <-time.After(pause):
		}
	}
}
