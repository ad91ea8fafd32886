package core

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestComponentStatuses(t *testing.T) {
	r := componentStatuses([]Component{
		{Name: "scheduler", Healthy: func(context.Context) error { return nil }},
		{Name: "etcd-0", Healthy: func(context.Context) error { return errors.New("no quorum") }},
	})
	all, err := r.Computed(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var rows [][]any
	for _, obj := range append(all, r.New()) {
		rows = append(rows, r.Cells(obj, time.Now()))
	}
	want := [][]any{{"scheduler", "Healthy", "ok", ""}, {"etcd-0", "Unhealthy", "no quorum", ""}, {"", "Unknown", "", ""}}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Error(diff)
	}
}
