package customresources

import (
	"fmt"

	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"github.com/strake-io/strake/apiserver/resource"
)

// publish serves the kinds whose definitions are established. Those that did not
// change keep their resources, and with them their watches.
func (m *Manager) publish() error {
	changed := false
	for name, k := range m.kinds {
		crd := m.crds[name]
		if crd == nil || !established(crd) {
			delete(m.kinds, name)
			changed = true
		} else if k.seen != crd && !sameKind(k.crd, crd) {
			m.kinds[name] = newKind(crd, m.caller)
			changed = true
		} else {
			k.seen = crd
		}
	}
	for name, crd := range m.crds {
		if m.kinds[name] == nil && established(crd) {
			m.kinds[name] = newKind(crd, m.caller)
			changed = true
		}
	}
	if !changed {
		return nil
	}
	var all []*resource.Resource
	for _, name := range m.byAge() {
		if k := m.kinds[name]; k != nil {
			all = append(all, k.resources...)
		}
	}
	err := m.config.Server.Publish(Owner, all)
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w; served without those that cannot be: %w", err, m.publishEach())
}

// publishEach leaves out the definitions that cannot be served, such as one that
// takes the name of a built-in resource.
func (m *Manager) publishEach() error {
	var good []*resource.Resource
	var last error
	for _, name := range m.byAge() {
		k := m.kinds[name]
		if k == nil {
			continue
		}
		with := append(good[:len(good):len(good)], k.resources...)
		if err := m.config.Server.Publish(Owner, with); err != nil {
			m.config.Logger.Error(err, "A custom resource definition cannot be served", "name", name)
			last = err
			continue
		}
		good = with
	}
	return last
}

func established(crd *apiextensionsv1.CustomResourceDefinition) bool {
	return apihelpers.IsCRDConditionTrue(crd, apiextensionsv1.Established)
}
