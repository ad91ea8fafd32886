package fairness

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/strake-io/strake/apiserver/request"
)

func object(verb, group, resource, namespace string) *request.Info {
	resource, sub, _ := strings.Cut(resource, "/")
	return &request.Info{IsResource: true, Verb: verb, Group: group, Version: "v1", Resource: resource, Subresource: sub, Namespace: namespace}
}

func path(verb, path string) *request.Info { return &request.Info{Verb: verb, Path: path} }

// The built-in schemas sort the requests of a usual cluster as the documentation says.
func TestBuiltInSchemas(t *testing.T) {
	c := builtIn(t)
	who := func(name string, groups ...string) user.Info {
		return &user.DefaultInfo{Name: name, Groups: append(groups, user.AllAuthenticated)}
	}
	const accounts = "system:serviceaccounts"
	node := who("system:node:a", user.NodesGroup)
	for _, test := range []struct {
		who           user.Info
		info          *request.Info
		schema, level string
	}{
		{who("admin", user.SystemPrivilegedGroup), object("list", "", "pods", ""), "exempt", "exempt"},
		{who("admin", user.SystemPrivilegedGroup), path("get", "/apis"), "exempt", "exempt"},
		{who("alice"), path("get", "/healthz"), "probes", "exempt"},
		{who("alice"), path("get", "/readyz"), "probes", "exempt"},
		{node, object("update", "coordination.k8s.io", "leases", "kube-node-lease"), "system-node-high", "node-high"},
		{node, object("patch", "", "nodes/status", ""), "system-node-high", "node-high"},
		{node, object("get", "", "nodes", ""), "system-node-high", "node-high"},
		{node, object("get", "", "pods", "default"), "system-nodes", "system"},
		{who("system:kube-controller-manager"), object("update", "coordination.k8s.io", "leases", "kube-system"), "system-leader-election", "leader-election"},
		{who("system:kube-controller-manager"), object("list", "", "pods", ""), "kube-controller-manager", "workload-high"},
		{who("system:kube-scheduler"), object("create", "", "pods/binding", "default"), "kube-scheduler", "workload-high"},
		{who("system:serviceaccount:kube-system:job-controller", accounts, accounts+":kube-system"), object("list", "batch", "jobs", ""), "kube-system-service-accounts", "workload-high"},
		{who("system:serviceaccount:default:default", accounts), object("list", "", "pods", "default"), "service-accounts", "workload-low"},
		{who("alice"), object("list", "", "pods", "default"), "global-default", "global-default"},
		{&user.DefaultInfo{Name: user.Anonymous, Groups: []string{user.AllUnauthenticated}}, path("get", "/api"), "global-default", "global-default"},
		// Nothing matches somebody without a group.
		{&user.DefaultInfo{Name: "nobody"}, path("get", "/api"), "catch-all", "catch-all"},
	} {
		class := c.Classify(test.info, test.who)
		if class.Schema() != test.schema || class.Level() != test.level {
			t.Errorf("%s %s %s%s is %s at %s, want %s at %s", test.who.GetName(), test.info.Verb, test.info.Path, test.info.Resource,
				class.Schema(), class.Level(), test.schema, test.level)
		}
	}
}

func schema(name string, precedence int32, rules ...flowcontrolv1.PolicyRulesWithSubjects) *flowcontrolv1.FlowSchema {
	s := everybody()
	s.ObjectMeta = metav1.ObjectMeta{Name: name}
	s.Spec.MatchingPrecedence, s.Spec.Rules = precedence, rules
	return s
}

func TestSchemasAreAskedInOrder(t *testing.T) {
	c, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	rules := everybody().Spec.Rules
	a, b, first, gone := schema("a", 100, rules...), schema("b", 100, rules...), schema("z", 99), schema("gone", 2, rules...)
	gone.Spec.PriorityLevelConfiguration.Name = "not-there"
	levels := []*flowcontrolv1.PriorityLevelConfiguration{queueing(8, 2, 10)}
	ask := func() string {
		return c.Classify(path("get", "/x"), &user.DefaultInfo{Name: "alice"}).Schema()
	}
	c.Apply([]*flowcontrolv1.FlowSchema{b, first, gone, a}, levels)
	if got := ask(); got != "a" {
		t.Errorf("of two with the same precedence %q, want the first by name; one without rules or without a level matches nothing", got)
	}
	first = schema("z", 99, rules...)
	c.Apply([]*flowcontrolv1.FlowSchema{b, first, a}, levels)
	if got := ask(); got != "z" {
		t.Errorf("%q, want the one with the lower precedence", got)
	}
	// Without its level, or with a broken one, a schema is as one that is not there.
	broken := queueing(8, 20, 10)
	c.Apply([]*flowcontrolv1.FlowSchema{b, first, a}, []*flowcontrolv1.PriorityLevelConfiguration{broken})
	if got := ask(); got != "catch-all" {
		t.Errorf("%q at a broken level", got)
	}
}

func TestRules(t *testing.T) {
	users := func(names ...string) (all []flowcontrolv1.Subject) {
		for _, n := range names {
			all = append(all, flowcontrolv1.Subject{Kind: flowcontrolv1.SubjectKindUser, User: &flowcontrolv1.UserSubject{Name: n}})
		}
		return all
	}
	account := func(namespace, name string) []flowcontrolv1.Subject {
		return []flowcontrolv1.Subject{{Kind: flowcontrolv1.SubjectKindServiceAccount, ServiceAccount: &flowcontrolv1.ServiceAccountSubject{Namespace: namespace, Name: name}}}
	}
	group := func(name string) []flowcontrolv1.Subject {
		return []flowcontrolv1.Subject{{Kind: flowcontrolv1.SubjectKindGroup, Group: &flowcontrolv1.GroupSubject{Name: name}}}
	}
	anything := everybody().Spec.Rules[0]
	with := func(subjects []flowcontrolv1.Subject) flowcontrolv1.PolicyRulesWithSubjects {
		r := anything
		r.Subjects = subjects
		return r
	}
	resources := func(r flowcontrolv1.ResourcePolicyRule) flowcontrolv1.PolicyRulesWithSubjects {
		return flowcontrolv1.PolicyRulesWithSubjects{Subjects: users("*"), ResourceRules: []flowcontrolv1.ResourcePolicyRule{r}}
	}
	paths := func(urls ...string) flowcontrolv1.PolicyRulesWithSubjects {
		return flowcontrolv1.PolicyRulesWithSubjects{Subjects: users("*"), NonResourceRules: []flowcontrolv1.NonResourcePolicyRule{{Verbs: []string{"get"}, NonResourceURLs: urls}}}
	}
	all := []string{"*"}
	many := make([]string, 100)
	for i := range many {
		many[i] = "user-" + string(rune('a'+i))
	}
	alice := &user.DefaultInfo{Name: "alice", Groups: []string{"dev", "ops"}}
	robot := &user.DefaultInfo{Name: "system:serviceaccount:ns:robot", Groups: []string{"system:serviceaccounts"}}
	pods, get := object("list", "", "pods", "ns"), path("get", "/healthz/ping")
	for name, test := range map[string]struct {
		rule flowcontrolv1.PolicyRulesWithSubjects
		who  user.Info
		info *request.Info
		want bool
	}{
		"a user":                    {with(users("bob", "alice")), alice, pods, true},
		"another user":              {with(users("bob")), alice, pods, false},
		"one of many users":         {with(users(append(many, "alice")...)), alice, pods, true},
		"none of many users":        {with(users(many...)), alice, pods, false},
		"all users":                 {with(users("*")), alice, pods, true},
		"a group":                   {with(group("ops")), alice, pods, true},
		"another group":             {with(group("sales")), alice, pods, false},
		"all groups":                {with(group("*")), &user.DefaultInfo{Name: "x"}, pods, true},
		"a service account":         {with(account("ns", "robot")), robot, pods, true},
		"another account":           {with(account("ns", "rob")), robot, pods, false},
		"another namespace":         {with(account("n", "robot")), robot, pods, false},
		"all accounts":              {with(account("ns", "*")), robot, pods, true},
		"all of a prefix":           {with(account("n", "*")), robot, pods, false},
		"no subject":                {with(nil), alice, pods, false},
		"a broken subject":          {with([]flowcontrolv1.Subject{{Kind: flowcontrolv1.SubjectKindUser}}), alice, pods, false},
		"resources":                 {resources(flowcontrolv1.ResourcePolicyRule{Verbs: []string{"get", "list"}, APIGroups: []string{""}, Resources: []string{"pods"}, Namespaces: []string{"ns"}}), alice, pods, true},
		"another verb":              {resources(flowcontrolv1.ResourcePolicyRule{Verbs: []string{"get"}, APIGroups: all, Resources: all, Namespaces: all}), alice, pods, false},
		"another API group":         {resources(flowcontrolv1.ResourcePolicyRule{Verbs: all, APIGroups: []string{"apps"}, Resources: all, Namespaces: all}), alice, pods, false},
		"another resource":          {resources(flowcontrolv1.ResourcePolicyRule{Verbs: all, APIGroups: all, Resources: []string{"services"}, Namespaces: all}), alice, pods, false},
		"in another namespace":      {resources(flowcontrolv1.ResourcePolicyRule{Verbs: all, APIGroups: all, Resources: all, Namespaces: []string{"other"}}), alice, pods, false},
		"cluster scope alone":       {resources(flowcontrolv1.ResourcePolicyRule{Verbs: all, APIGroups: all, Resources: all, ClusterScope: true}), alice, pods, false},
		"cluster scope":             {resources(flowcontrolv1.ResourcePolicyRule{Verbs: all, APIGroups: all, Resources: all, ClusterScope: true}), alice, object("list", "", "pods", ""), true},
		"no cluster scope":          {resources(flowcontrolv1.ResourcePolicyRule{Verbs: all, APIGroups: all, Resources: all, Namespaces: all}), alice, object("list", "", "pods", ""), false},
		"a sub-resource":            {resources(flowcontrolv1.ResourcePolicyRule{Verbs: all, APIGroups: all, Resources: []string{"pods/status"}, Namespaces: all}), alice, object("patch", "", "pods/status", "ns"), true},
		"not the sub-resource":      {resources(flowcontrolv1.ResourcePolicyRule{Verbs: all, APIGroups: all, Resources: []string{"pods"}, Namespaces: all}), alice, object("patch", "", "pods/status", "ns"), false},
		"not what is above it":      {resources(flowcontrolv1.ResourcePolicyRule{Verbs: all, APIGroups: all, Resources: []string{"pods/status"}, Namespaces: all}), alice, pods, false},
		"resource rule for a path":  {resources(flowcontrolv1.ResourcePolicyRule{Verbs: all, APIGroups: all, Resources: all, ClusterScope: true, Namespaces: all}), alice, get, false},
		"a path":                    {paths("/healthz/ping"), alice, get, true},
		"what is below a path":      {paths("/healthz"), alice, get, true},
		"a path with a star":        {paths("/healthz/*"), alice, get, true},
		"a path that begins alike":  {paths("/health"), alice, get, false},
		"a star with nothing below": {paths("/healthz/ping/*"), alice, get, false},
		"all paths":                 {paths("*"), alice, get, true},
		"a path for a resource":     {paths("*"), alice, pods, false},
		"another verb for a path":   {paths("*"), alice, path("post", "/healthz"), false},
	} {
		t.Run(name, func(t *testing.T) {
			compiled := compileRules([]flowcontrolv1.PolicyRulesWithSubjects{test.rule})
			if got := compiled[0].matches(test.info, test.who); got != test.want {
				t.Error(got)
			}
		})
	}
}

func TestDistinguishers(t *testing.T) {
	who, info := &user.DefaultInfo{Name: "alice"}, object("get", "", "pods", "ns")
	for kind, want := range map[flowcontrolv1.FlowDistinguisherMethodType]string{
		flowcontrolv1.FlowDistinguisherMethodByUserType: "alice", flowcontrolv1.FlowDistinguisherMethodByNamespaceType: "ns", "other": "",
	} {
		if got := distinguisherOf(&flowcontrolv1.FlowDistinguisherMethod{Type: kind}).of(info, who); got != want {
			t.Errorf("%s: %q", kind, got)
		}
	}
	if got := distinguisherOf(nil).of(info, who); got != "" {
		t.Errorf("no method: %q", got)
	}
	seen := map[uint64]bool{}
	for _, of := range [][2]string{{"a", "b"}, {"ab", ""}, {"", "ab"}, {"b", "a"}, {"a", "c"}} {
		seen[flowHash(1, of[0], of[1])] = true
	}
	if len(seen) != 5 || flowHash(1, "a", "b") == flowHash(2, "a", "b") {
		t.Error("different flows have the same hash")
	}
}

// plainly is what rules say of a request, as the API describes it.
func plainly(rules []flowcontrolv1.PolicyRulesWithSubjects, info *request.Info, who user.Info) bool {
	in := func(list []string, s string) bool {
		return len(list) == 1 && list[0] == "*" || slices.Contains(list, s)
	}
	return slices.ContainsFunc(rules, func(r flowcontrolv1.PolicyRulesWithSubjects) bool {
		subject := slices.ContainsFunc(r.Subjects, func(s flowcontrolv1.Subject) bool {
			switch s.Kind {
			case flowcontrolv1.SubjectKindUser:
				return s.User.Name == "*" || s.User.Name == who.GetName()
			case flowcontrolv1.SubjectKindGroup:
				return s.Group.Name == "*" || slices.Contains(who.GetGroups(), s.Group.Name)
			}
			parts := strings.Split(who.GetName(), ":")
			return len(parts) == 4 && parts[1] == "serviceaccount" && parts[2] == s.ServiceAccount.Namespace && (s.ServiceAccount.Name == "*" || s.ServiceAccount.Name == parts[3])
		})
		resource := slices.ContainsFunc(r.ResourceRules, func(r flowcontrolv1.ResourcePolicyRule) bool {
			scope := r.ClusterScope
			if info.Namespace != "" {
				scope = in(r.Namespaces, info.Namespace)
			}
			return scope && in(r.Verbs, info.Verb) && in(r.APIGroups, info.Group) && in(r.Resources, info.QualifiedResource())
		})
		other := slices.ContainsFunc(r.NonResourceRules, func(r flowcontrolv1.NonResourcePolicyRule) bool {
			return in(r.Verbs, info.Verb) && slices.ContainsFunc(r.NonResourceURLs, func(u string) bool {
				return u == "*" || info.Path == u || strings.HasPrefix(info.Path, strings.TrimRight(u, "/*")+"/")
			})
		})
		return subject && (info.IsResource && resource || !info.IsResource && other)
	})
}

// Rules that are made ready say of every request what they say as they are written.
func TestRulesAgainstThePlainReading(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	pick := func(from ...string) string { return from[random.IntN(len(from))] }
	some := func(from ...string) (out []string) {
		if random.IntN(4) == 0 {
			return []string{"*"}
		}
		for range 1 + random.IntN(3) {
			out = append(out, pick(from...))
		}
		return out
	}
	verbs, groups, names := []string{"get", "list", "create"}, []string{"", "apps"}, []string{"pods", "pods/status", "nodes"}
	namespaces, urls := []string{"a", "b"}, []string{"/x", "/x/y", "/z/*", "/"}
	people := []string{"u", "v", "system:serviceaccount:a:r", "system:serviceaccount:ab:r"}
	matched := 0
	const tries = 20000
	for range tries {
		var rules []flowcontrolv1.PolicyRulesWithSubjects
		for range 1 + random.IntN(2) {
			var r flowcontrolv1.PolicyRulesWithSubjects
			for range 1 + random.IntN(2) {
				r.Subjects = append(r.Subjects, []flowcontrolv1.Subject{
					{Kind: flowcontrolv1.SubjectKindUser, User: &flowcontrolv1.UserSubject{Name: pick("u", "v", "*")}},
					{Kind: flowcontrolv1.SubjectKindGroup, Group: &flowcontrolv1.GroupSubject{Name: pick("g", "h", "*")}},
					{Kind: flowcontrolv1.SubjectKindServiceAccount, ServiceAccount: &flowcontrolv1.ServiceAccountSubject{Namespace: pick("a", "ab"), Name: pick("r", "*")}},
				}[random.IntN(3)])
			}
			r.ResourceRules = []flowcontrolv1.ResourcePolicyRule{{
				Verbs: some(verbs...), APIGroups: some(groups...), Resources: some(names...), ClusterScope: random.IntN(2) == 0, Namespaces: some(namespaces...),
			}}
			r.NonResourceRules = []flowcontrolv1.NonResourcePolicyRule{{Verbs: some(verbs...), NonResourceURLs: some(urls...)}}
			rules = append(rules, r)
		}
		who := &user.DefaultInfo{Name: pick(people...), Groups: []string{pick("g", "h", "i")}}
		info := object(pick(verbs...), pick(groups...), pick(names...), pick("", "a", "b", "c"))
		if random.IntN(3) == 0 {
			info = path(pick(verbs...), pick("/x", "/x/y", "/x/y/z", "/xy", "/z", "/z/a", "/"))
		}
		got := slices.ContainsFunc(compileRules(rules), func(r rule) bool { return r.matches(info, who) })
		if want := plainly(rules, info, who); got != want {
			t.Fatalf("%v, want %v: %+v of %+v by %+v", got, want, info, who, rules)
		} else if want {
			matched++
		}
	}
	if matched < tries/20 {
		t.Errorf("only %d of %d matched: the test says little", matched, tries)
	}
}
