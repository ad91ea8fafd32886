package defaults_test

import (
	"slices"
	"testing"

	"github.com/strake-io/strake/apiserver/admission"
	"github.com/strake-io/strake/apiserver/admission/defaults"
)

type named string

func (n named) Name() string { return string(n) }

// What a program adds comes to the place that upstream has for it, and before what
// clients have configured where upstream has none.
func TestChain(t *testing.T) {
	plugins, err := defaults.Chain(defaults.Config{Host: []admission.Plugin{
		named("b"), named("DenyServiceExternalIPs"), named("a"), named("NamespaceAutoProvision"), named("NamespaceExists"),
	}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range plugins {
		got = append(got, p.Name())
	}
	last := -1
	for _, name := range []string{
		"NamespaceAutoProvision", "NamespaceLifecycle", "NamespaceExists", "ServiceAccount", "DenyServiceExternalIPs", "b", "a",
		"MutatingAdmissionPolicy", "MutatingAdmissionWebhook", "ValidatingAdmissionPolicy", "ValidatingAdmissionWebhook",
	} {
		at := slices.Index(got, name)
		if at <= last {
			t.Errorf("%s is at %d of %v", name, at, got)
		}
		last = at
	}
}
