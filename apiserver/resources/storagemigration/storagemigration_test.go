package storagemigration

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	migrationv1 "k8s.io/api/storagemigration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func lines(errs field.ErrorList) []string {
	var out []string
	for _, e := range errs {
		out = append(out, e.Error())
	}
	return out
}

func migration(version string, types ...migrationv1.MigrationConditionType) *migrationv1.StorageVersionMigration {
	m := &migrationv1.StorageVersionMigration{
		Spec:   migrationv1.StorageVersionMigrationSpec{Resource: metav1.GroupResource{Group: "apps", Resource: "deployments"}},
		Status: migrationv1.StorageVersionMigrationStatus{ResourceVersion: version},
	}
	for _, t := range types {
		m.Status.Conditions = append(m.Status.Conditions, metav1.Condition{
			Type: string(t), Status: metav1.ConditionTrue, Reason: "R", LastTransitionTime: metav1.NewTime(time.Unix(1, 0)),
		})
	}
	return m
}

func details(errs field.ErrorList) []string {
	var out []string
	for _, e := range errs {
		out = append(out, e.Field+": "+e.Detail)
	}
	return out
}

func TestMigrations(t *testing.T) {
	r := Resources()[0]
	if errs := r.Validate(migration("")); len(errs) > 0 {
		t.Error(errs)
	}
	if diff := cmp.Diff([]string{"spec.resource.resource: Required value: resource is required to be set"}, lines(r.Validate(&migrationv1.StorageVersionMigration{}))); diff != "" {
		t.Error(diff)
	}
	other := migration("")
	other.Spec.Resource.Resource = "replicasets"
	if got := details(r.ValidateUpdate(other, migration(""))); cmp.Diff([]string{"spec: field is immutable"}, got) != "" {
		t.Error(got)
	}
	const running, succeeded, failed = migrationv1.MigrationRunning, migrationv1.MigrationSucceeded, migrationv1.MigrationFailed
	for name, test := range map[string]struct {
		now, old *migrationv1.StorageVersionMigration
		want     []string
	}{
		"running":  {now: migration("7", running), old: migration("")},
		"done":     {now: migration("7", succeeded), old: migration("7", running)},
		"both":     {now: migration("7", succeeded, failed), old: migration("7"), want: []string{"status.conditions: Both success and failed conditions cannot be true at the same time"}},
		"not over": {now: migration("7", failed, running), old: migration("7"), want: []string{"status.conditions: Running condition cannot be true when failed condition is true"}},
		"undone":   {now: migration("7"), old: migration("7", succeeded), want: []string{"status.conditions: Success condition cannot be set to false once it is true"}},
		"version":  {now: migration("8"), old: migration("7"), want: []string{"status.resourceVersion: field is immutable"}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, details(validateStatus(test.now, test.old))); diff != "" {
				t.Error(diff)
			}
		})
	}
}
