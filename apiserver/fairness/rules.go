package fairness

import (
	"cmp"
	"slices"
	"strings"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/strake-io/strake/apiserver/request"
)

// rule is one of a flow schema's rules, in a form that is asked without allocating.
type rule struct {
	subjects     subjects
	resources    []resourceRule
	nonResources []nonResourceRule
}

// compileRules makes a schema's rules ready to be asked.
func compileRules(rules []flowcontrolv1.PolicyRulesWithSubjects) []rule {
	out := make([]rule, len(rules))
	for i := range rules {
		r := &rules[i]
		out[i].subjects = compileSubjects(r.Subjects)
		for j := range r.ResourceRules {
			out[i].resources = append(out[i].resources, compileResourceRule(&r.ResourceRules[j]))
		}
		for j := range r.NonResourceRules {
			out[i].nonResources = append(out[i].nonResources, compileNonResourceRule(&r.NonResourceRules[j]))
		}
	}
	return out
}

// matches says whether the request is who's and of the kind that the rule is about.
func (r *rule) matches(info *request.Info, who user.Info) bool {
	if !r.subjects.include(who) {
		return false
	}
	if info.IsResource {
		for i := range r.resources {
			if r.resources[i].matches(info) {
				return true
			}
		}
		return false
	}
	for i := range r.nonResources {
		if r.nonResources[i].matches(info) {
			return true
		}
	}
	return false
}

// words is a set of strings, or all there are.
type words struct {
	all  bool
	few  []string
	many map[string]struct{}
}

// manyWords is from how many on looking up is faster than comparing.
const manyWords = 16

// newWords is the set of the values; wildcard alone stands for every string.
func newWords(values []string, wildcard string) words {
	if len(values) == 1 && values[0] == wildcard {
		return words{all: true}
	}
	return exactly(values)
}

// exactly is the set of the values.
func exactly(values []string) words {
	if len(values) < manyWords {
		return words{few: slices.Clone(values)}
	}
	w := words{many: make(map[string]struct{}, len(values))}
	for _, v := range values {
		w.many[v] = struct{}{}
	}
	return w
}

func (w *words) has(s string) bool {
	if w.all {
		return true
	}
	if w.many != nil {
		_, ok := w.many[s]
		return ok
	}
	return slices.Contains(w.few, s)
}

// subjects are those whom a rule is about.
type subjects struct {
	anyone bool
	users  words
	groups words
	// accounts are what the names of all service accounts of a namespace begin with.
	accounts []string
}

func compileSubjects(all []flowcontrolv1.Subject) subjects {
	var s subjects
	var users, groups []string
	for _, subject := range all {
		switch {
		case subject.Kind == flowcontrolv1.SubjectKindUser && subject.User != nil:
			s.anyone = s.anyone || subject.User.Name == flowcontrolv1.NameAll
			users = append(users, subject.User.Name)
		case subject.Kind == flowcontrolv1.SubjectKindGroup && subject.Group != nil:
			s.anyone = s.anyone || subject.Group.Name == flowcontrolv1.NameAll
			groups = append(groups, subject.Group.Name)
		case subject.Kind == flowcontrolv1.SubjectKindServiceAccount && subject.ServiceAccount != nil:
			account := subject.ServiceAccount
			if account.Name == flowcontrolv1.NameAll {
				s.accounts = append(s.accounts, serviceaccount.MakeUsername(account.Namespace, ""))
			} else {
				users = append(users, serviceaccount.MakeUsername(account.Namespace, account.Name))
			}
		}
	}
	s.users, s.groups = exactly(users), exactly(groups)
	return s
}

func (s *subjects) include(who user.Info) bool {
	if s.anyone {
		return true
	}
	name := who.GetName()
	if s.users.has(name) {
		return true
	}
	for _, prefix := range s.accounts {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	if len(s.groups.few) == 0 && s.groups.many == nil {
		return false
	}
	for _, g := range who.GetGroups() {
		if s.groups.has(g) {
			return true
		}
	}
	return false
}

// resourceRule is about requests for objects.
type resourceRule struct {
	verbs, groups words
	all           bool
	// resources by their names, without those of sub-resources; with them as
	// RESOURCE/SUBRESOURCE cut in two.
	resources    words
	subresources [][2]string
	cluster      bool
	namespaces   words
}

func compileResourceRule(r *flowcontrolv1.ResourcePolicyRule) resourceRule {
	out := resourceRule{
		verbs: newWords(r.Verbs, flowcontrolv1.VerbAll), groups: newWords(r.APIGroups, flowcontrolv1.APIGroupAll),
		all:     len(r.Resources) == 1 && r.Resources[0] == flowcontrolv1.ResourceAll,
		cluster: r.ClusterScope, namespaces: newWords(r.Namespaces, flowcontrolv1.NamespaceEvery),
	}
	var whole []string
	for _, name := range r.Resources {
		if resource, sub, ok := strings.Cut(name, "/"); ok {
			out.subresources = append(out.subresources, [2]string{resource, sub})
		} else {
			whole = append(whole, name)
		}
	}
	out.resources = exactly(whole)
	return out
}

func (r *resourceRule) matches(info *request.Info) bool {
	if !r.verbs.has(info.Verb) || !r.groups.has(info.Group) || !r.about(info) {
		return false
	}
	if info.Namespace == "" {
		return r.cluster
	}
	return r.namespaces.has(info.Namespace)
}

func (r *resourceRule) about(info *request.Info) bool {
	switch {
	case r.all:
		return true
	case info.Subresource == "":
		return r.resources.has(info.Resource)
	}
	return slices.Contains(r.subresources, [2]string{info.Resource, info.Subresource})
}

// nonResourceRule is about requests for anything else, by their paths.
type nonResourceRule struct {
	verbs words
	all   bool
	paths []pathRule
}

// pathRule is a path, and the paths below it.
type pathRule struct{ exact, below string }

func compileNonResourceRule(r *flowcontrolv1.NonResourcePolicyRule) nonResourceRule {
	out := nonResourceRule{verbs: newWords(r.Verbs, flowcontrolv1.VerbAll)}
	for _, path := range r.NonResourceURLs {
		out.all = out.all || path == flowcontrolv1.NonResourceAll
		below := strings.TrimSuffix(path, "*")
		if !strings.HasSuffix(below, "/") {
			below += "/"
		}
		out.paths = append(out.paths, pathRule{path, below})
	}
	return out
}

func (r *nonResourceRule) matches(info *request.Info) bool {
	if !r.verbs.has(info.Verb) {
		return false
	}
	if r.all {
		return true
	}
	for i := range r.paths {
		if r.paths[i].exact == info.Path || strings.HasPrefix(info.Path, r.paths[i].below) {
			return true
		}
	}
	return false
}

// distinguisher is what tells the flows of one schema apart.
type distinguisher uint8

const (
	allAlike distinguisher = iota
	byUser
	byNamespace
)

func distinguisherOf(method *flowcontrolv1.FlowDistinguisherMethod) distinguisher {
	switch {
	case method == nil:
		return allAlike
	case method.Type == flowcontrolv1.FlowDistinguisherMethodByUserType:
		return byUser
	case method.Type == flowcontrolv1.FlowDistinguisherMethodByNamespaceType:
		return byNamespace
	}
	return allAlike
}

func (d distinguisher) of(info *request.Info, who user.Info) string {
	switch d {
	case byUser:
		return who.GetName()
	case byNamespace:
		return info.Namespace
	}
	return ""
}

// inOrder sorts schemas as they are asked: by precedence, then by name.
func inOrder(schemas []*flowcontrolv1.FlowSchema) []*flowcontrolv1.FlowSchema {
	sorted := slices.Clone(schemas)
	slices.SortStableFunc(sorted, func(a, b *flowcontrolv1.FlowSchema) int {
		return cmp.Or(cmp.Compare(a.Spec.MatchingPrecedence, b.Spec.MatchingPrecedence), strings.Compare(a.Name, b.Name))
	})
	return sorted
}

// flowHash spreads flows over queues. seed keeps clients from choosing names that
// share queues with somebody else's.
func flowHash(seed uint64, schema, distinguisher string) uint64 {
	const offset, prime = 14695981039346656037, 1099511628211
	h := offset ^ seed
	add := func(s string) {
		for i := range len(s) {
			h = (h ^ uint64(s[i])) * prime
		}
	}
	add(schema)
	h *= prime // as if a zero byte stood between the two
	add(distinguisher)
	// Every bit of the input shall show in every bit of the result.
	h ^= h >> 30
	h *= 0xbf58476d1ce4e5b9
	h ^= h >> 27
	h *= 0x94d049bb133111eb
	return h ^ h>>31
}
