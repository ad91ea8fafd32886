package bootstrap

import (
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ClusterRoleBindings are the default ones.
func ClusterRoleBindings() []*rbacv1.ClusterRoleBinding {
	const authenticated, unauthenticated, accounts = "system:authenticated", "system:unauthenticated", "system:serviceaccounts"
	all := []*rbacv1.ClusterRoleBinding{
		bind("cluster-admin", group("system:masters")),
		bind("system:basic-user", group(authenticated)),
		bind("system:cluster-trust-bundle-discovery", group(accounts)),
		bind("system:discovery", group(authenticated)),
		bind("system:kube-controller-manager", user("system:kube-controller-manager")),
		bind("system:kube-dns", account("kube-dns")),
		bind("system:kube-scheduler", user("system:kube-scheduler")),
		bind("system:monitoring", group("system:monitoring")),
		bind("system:node"),
		bind("system:node-proxier", user("system:kube-proxy")),
		bind("system:public-info-viewer", group(authenticated), group(unauthenticated)),
		bind("system:service-account-issuer-discovery", group(accounts)),
		bind("system:volume-scheduler", user("system:kube-scheduler")),
	}
	for _, c := range controllers() {
		all = append(all, bind("system:controller:"+c.name, account(c.name)))
	}
	return all
}

// The namespaces that have roles of their own.
const (
	system = metav1.NamespaceSystem
	public = metav1.NamespacePublic
)

// Roles are the default ones of namespaces.
func Roles() []*rbacv1.Role {
	role := func(namespace, name string, rules ...rbacv1.PolicyRule) *rbacv1.Role {
		return &rbacv1.Role{ObjectMeta: meta(namespace, name), Rules: rules}
	}
	return []*rbacv1.Role{
		role(system, "extension-apiserver-authentication-reader",
			only(on(core, "configmaps", read), "extension-apiserver-authentication")),
		role(system, "system::leader-locking-kube-controller-manager",
			on("coordination.k8s.io", "leases", "create get list update watch"),
			on("coordination.k8s.io", "leasecandidates", "create get list update watch")),
		role(system, "system::leader-locking-kube-scheduler",
			on("coordination.k8s.io", "leases", "create get list update watch"),
			on("coordination.k8s.io", "leasecandidates", "create get list update watch")),
		role(system, "system:controller:bootstrap-signer", on(core, "secrets", read)),
		role(system, "system:controller:cloud-provider", on(core, "configmaps", "create get list watch")),
		role(system, "system:controller:token-cleaner", on(core, "secrets", "delete get list watch"), events),
		role(public, "system:controller:bootstrap-signer",
			on(core, "configmaps", read), only(on(core, "configmaps", update), "cluster-info"), events),
	}
}

// RoleBindings are the default ones of namespaces.
func RoleBindings() []*rbacv1.RoleBinding {
	binding := func(namespace, role string, subjects ...rbacv1.Subject) *rbacv1.RoleBinding {
		return &rbacv1.RoleBinding{
			ObjectMeta: meta(namespace, role), Subjects: subjects,
			RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role},
		}
	}
	named := func(name string, b *rbacv1.RoleBinding) *rbacv1.RoleBinding {
		b.Name = name
		return b
	}
	return []*rbacv1.RoleBinding{
		named("system::extension-apiserver-authentication-reader", binding(system, "extension-apiserver-authentication-reader", user("system:kube-controller-manager"), user("system:kube-scheduler"))),
		binding(system, "system::leader-locking-kube-controller-manager", user("system:kube-controller-manager"), account("kube-controller-manager"), account("leader-election-controller")),
		binding(system, "system::leader-locking-kube-scheduler", user("system:kube-scheduler"), account("kube-scheduler")),
		binding(system, "system:controller:bootstrap-signer", account("bootstrap-signer")),
		binding(system, "system:controller:cloud-provider", account("cloud-provider")),
		binding(system, "system:controller:token-cleaner", account("token-cleaner")),
		binding(public, "system:controller:bootstrap-signer", account("bootstrap-signer")),
	}
}
