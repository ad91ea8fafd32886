package bootstrap

import (
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The verbs that go together.
const (
	read      = "get list watch"
	write     = "create delete deletecollection patch update"
	readWrite = "create delete deletecollection get list patch update watch"
	update    = "update"
)

// core is the word for the group without a name.
const core = "core"

// on makes a rule: groups, resources and verbs are words.
func on(groups, resources, verbs string) rbacv1.PolicyRule {
	names := strings.Fields(groups)
	for i, g := range names {
		if g == core {
			names[i] = ""
		}
	}
	return rbacv1.PolicyRule{Verbs: strings.Fields(verbs), APIGroups: names, Resources: strings.Fields(resources)}
}

// only narrows a rule to objects of these names.
func only(rule rbacv1.PolicyRule, names string) rbacv1.PolicyRule {
	rule.ResourceNames = strings.Fields(names)
	return rule
}

// urls makes a rule about paths that are no resources.
func urls(verbs, paths string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{Verbs: strings.Fields(verbs), NonResourceURLs: strings.Fields(paths)}
}

var events = on("core events.k8s.io", "events", "create patch update")

func meta(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: namespace, Name: name,
		Labels:      map[string]string{"kubernetes.io/bootstrapping": "rbac-defaults"},
		Annotations: map[string]string{rbacv1.AutoUpdateAnnotationKey: "true"},
	}
}

func clusterRole(name string, rules ...rbacv1.PolicyRule) *rbacv1.ClusterRole {
	return &rbacv1.ClusterRole{ObjectMeta: meta("", name), Rules: rules}
}

// labelled marks a role whose rules go into another.
func labelled(r *rbacv1.ClusterRole, into ...string) *rbacv1.ClusterRole {
	for _, name := range into {
		r.Labels["rbac.authorization.k8s.io/aggregate-to-"+name] = "true"
	}
	return r
}

// aggregate is a role of the rules of those marked for it.
func aggregate(name string) *rbacv1.ClusterRole {
	r := clusterRole(name)
	r.AggregationRule = &rbacv1.AggregationRule{ClusterRoleSelectors: []metav1.LabelSelector{{
		MatchLabels: map[string]string{"rbac.authorization.k8s.io/aggregate-to-" + name: "true"},
	}}}
	return r
}

func user(name string) rbacv1.Subject {
	return rbacv1.Subject{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: name}
}

func group(name string) rbacv1.Subject {
	return rbacv1.Subject{Kind: rbacv1.GroupKind, APIGroup: rbacv1.GroupName, Name: name}
}

func account(name string) rbacv1.Subject {
	return rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: metav1.NamespaceSystem, Name: name}
}

func bind(role string, subjects ...rbacv1.Subject) *rbacv1.ClusterRoleBinding {
	return &rbacv1.ClusterRoleBinding{
		ObjectMeta: meta("", role), Subjects: subjects,
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
	}
}
