package bootstrap

import (
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ClusterRoles are the default ones. Each call makes them anew.
func ClusterRoles() []*rbacv1.ClusterRole {
	all := append(forUsers(), forComponents()...)
	for _, c := range controllers() {
		all = append(all, clusterRole("system:controller:"+c.name, c.rules...))
	}
	return all
}

// forUsers are the roles that administrators give.
func forUsers() []*rbacv1.ClusterRole {
	const (
		workloads = "daemonsets deployments deployments/rollback deployments/scale replicasets replicasets/scale statefulsets statefulsets/scale"
		seen      = "daemonsets daemonsets/status deployments deployments/scale deployments/status replicasets replicasets/scale replicasets/status statefulsets statefulsets/scale statefulsets/status controllerrevisions"
		jobs      = "cronjobs cronjobs/status jobs jobs/status"
		networks  = "ingresses ingresses/status networkpolicies"
	)
	return []*rbacv1.ClusterRole{
		clusterRole("cluster-admin", on("*", "*", "*"), urls("*", "*")),
		aggregate("admin"),
		labelled(aggregate("edit"), "admin"),
		labelled(aggregate("view"), "edit"),
		labelled(clusterRole("system:aggregate-to-admin",
			on("authorization.k8s.io", "localsubjectaccessreviews", "create"),
			on(rbacv1.GroupName, "roles rolebindings", readWrite),
		), "admin"),
		labelled(clusterRole("system:aggregate-to-edit",
			on(core, "pods/attach pods/proxy pods/exec pods/portforward secrets services/proxy", read),
			on(core, "serviceaccounts", "impersonate"),
			on(core, "pods pods/attach pods/exec pods/portforward pods/proxy", write),
			on(core, "pods/eviction", "create"),
			on(core, "configmaps events persistentvolumeclaims replicationcontrollers replicationcontrollers/scale secrets serviceaccounts services services/proxy", write),
			on(core, "serviceaccounts/token", "create"),
			on("apps", workloads, write),
			on("autoscaling", "horizontalpodautoscalers", write),
			on("batch", "cronjobs jobs", write),
			on("policy", "poddisruptionbudgets", write),
			on("networking.k8s.io", "ingresses networkpolicies", write),
			on("coordination.k8s.io", "leases", "create delete deletecollection get list patch update watch"),
			on("resource.k8s.io", "resourceclaims resourceclaimtemplates", write),
		), "edit"),
		labelled(clusterRole("system:aggregate-to-view",
			on(core, "configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods replicationcontrollers replicationcontrollers/scale serviceaccounts services services/status", read),
			on(core, "bindings events limitranges namespaces/status pods/log pods/status replicationcontrollers/status resourcequotas resourcequotas/status", read),
			on(core, "namespaces", read),
			on("discovery.k8s.io", "endpointslices", read),
			on("apps", seen, read),
			on("autoscaling", "horizontalpodautoscalers horizontalpodautoscalers/status", read),
			on("batch", jobs, read),
			on("policy", "poddisruptionbudgets poddisruptionbudgets/status", read),
			on("networking.k8s.io", networks, read),
			on("resource.k8s.io", "resourceclaims resourceclaims/status resourceclaimtemplates", read),
		), "view"),
		clusterRole("system:discovery", urls("get", "/livez /readyz /healthz /version /version/ /openapi /openapi/* /api /api/* /apis /apis/*")),
		clusterRole("system:public-info-viewer", urls("get", "/livez /readyz /healthz /version /version/")),
		clusterRole("system:monitoring", urls("get", "/metrics /metrics/slis /livez /readyz /healthz /livez/* /readyz/* /healthz/*")),
		clusterRole("system:basic-user",
			on("authorization.k8s.io", "selfsubjectaccessreviews selfsubjectrulesreviews", "create"),
			on("authentication.k8s.io", "selfsubjectreviews", "create"),
		),
		clusterRole("system:service-account-issuer-discovery", urls("get", "/.well-known/openid-configuration /.well-known/openid-configuration/ /openid/v1/jwks /openid/v1/jwks/")),
		clusterRole("cluster-trust-bundle-discovery", on("certificates.k8s.io", "clustertrustbundles", read)),
		clusterRole("system:auth-delegator",
			on("authentication.k8s.io", "tokenreviews", "create"), on("authorization.k8s.io", "subjectaccessreviews", "create")),
		clusterRole("system:kubelet-api-admin",
			on(core, "nodes", read), on(core, "nodes", "proxy"),
			on(core, "nodes/proxy nodes/log nodes/stats nodes/metrics nodes/configz nodes/healthz nodes/pods", "*")),
		clusterRole("system:certificates.k8s.io:certificatesigningrequests:nodeclient", on("certificates.k8s.io", "certificatesigningrequests/nodeclient", "create")),
		clusterRole("system:certificates.k8s.io:certificatesigningrequests:selfnodeclient", on("certificates.k8s.io", "certificatesigningrequests/selfnodeclient", "create")),
		signer("legacy-unknown-approver", "kubernetes.io/legacy-unknown"),
		signer("kubelet-serving-approver", "kubernetes.io/kubelet-serving"),
		signer("kube-apiserver-client-approver", "kubernetes.io/kube-apiserver-client"),
		signer("kube-apiserver-client-kubelet-approver", "kubernetes.io/kube-apiserver-client-kubelet"),
	}
}

func signer(name, of string) *rbacv1.ClusterRole {
	return clusterRole("system:certificates.k8s.io:"+name, only(on("certificates.k8s.io", "signers", "approve"), of))
}

// forComponents are what the parts of a cluster do.
func forComponents() []*rbacv1.ClusterRole {
	return []*rbacv1.ClusterRole{
		clusterRole("system:node",
			on("authentication.k8s.io", "tokenreviews", "create"),
			on("authorization.k8s.io", "localsubjectaccessreviews subjectaccessreviews", "create"),
			on(core, "services", read), on(core, "nodes", "create get list watch"), on(core, "nodes/status nodes", "patch update"),
			events, on(core, "pods", read), on(core, "pods", "create delete"), on(core, "pods/status", "patch update"), on(core, "pods/eviction", "create"),
			on(core, "configmaps secrets", read), on(core, "persistentvolumeclaims persistentvolumes", "get"), on(core, "endpoints", "get"),
			on("certificates.k8s.io", "certificatesigningrequests", "create get list watch"),
			on("coordination.k8s.io", "leases", "create delete get patch update"),
			on("storage.k8s.io", "volumeattachments", "get"), on(core, "serviceaccounts/token", "create"), on(core, "serviceaccounts", "get"),
			on(core, "persistentvolumeclaims/status", "get patch update"),
			on("storage.k8s.io", "csidrivers", read), on("storage.k8s.io", "csinodes", "create delete get patch update"),
			on("node.k8s.io", "runtimeclasses", read),
			on("resource.k8s.io", "resourceclaims", "get"), on("resource.k8s.io", "resourceslices", "create deletecollection get list watch update patch delete"),
		),
		clusterRole("system:node-problem-detector", on(core, "nodes", "get"), on(core, "nodes/status", "patch"), events),
		clusterRole("system:node-proxier",
			on(core, "services endpoints", "list watch"), on(core, "nodes", read), events,
			on("discovery.k8s.io", "endpointslices", "list watch"), on("networking.k8s.io", "servicecidrs", "list watch")),
		clusterRole("system:node-bootstrapper", on("certificates.k8s.io", "certificatesigningrequests", "create get list watch")),
		clusterRole("system:heapster",
			on(core, "events pods nodes namespaces", read), on("apps", "deployments", read)),
		clusterRole("system:kube-aggregator", on(core, "services endpoints", read), on("discovery.k8s.io", "endpointslices", read)),
		clusterRole("system:kube-dns", on(core, "endpoints services", "list watch")),
		clusterRole("system:persistent-volume-provisioner",
			on(core, "persistentvolumes", "create delete get list watch"), on(core, "persistentvolumeclaims", "get list update watch"),
			on("storage.k8s.io", "storageclasses", read), on(core, "events", "watch"), events),
		clusterRole("system:kube-controller-manager",
			events, on("coordination.k8s.io", "leases", "create"), only(on("coordination.k8s.io", "leases", "get update"), "kube-controller-manager"),
			on(core, "secrets serviceaccounts", "create"), on(core, "secrets", "delete"),
			on(core, "configmaps namespaces secrets serviceaccounts", "get"), on(core, "secrets serviceaccounts", "update"),
			on("authentication.k8s.io", "tokenreviews", "create"), on("authorization.k8s.io", "subjectaccessreviews", "create"),
			on("*", "*", "list watch"), on(core, "serviceaccounts/token", "create")),
		clusterRole("system:kube-scheduler",
			events, on("coordination.k8s.io", "leases", "create"), only(on("coordination.k8s.io", "leases", "get update"), "kube-scheduler"),
			on(core, "nodes", read), on(core, "pods", "delete get list watch"), on(core, "bindings pods/binding", "create"),
			on(core, "pods/status", "patch update"), on(core, "replicationcontrollers services", read), on("apps", "replicasets statefulsets", read),
			on("policy", "poddisruptionbudgets", read), on(core, "persistentvolumeclaims persistentvolumes", read),
			on("authentication.k8s.io", "tokenreviews", "create"), on("authorization.k8s.io", "subjectaccessreviews", "create"),
			on("storage.k8s.io", "csinodes csidrivers csistoragecapacities", read), on(core, "namespaces", read),
			on("resource.k8s.io", "deviceclasses resourceslices", read), on("resource.k8s.io", "resourceclaims", "get list patch update watch"),
			on("resource.k8s.io", "resourceclaims/status", "get patch update")),
		clusterRole("system:volume-scheduler",
			on(core, "persistentvolumes", "get list patch update watch"), on("storage.k8s.io", "storageclasses", read),
			on(core, "persistentvolumeclaims", "get list patch update watch")),
	}
}

// ClusterRoleBindings are the default ones.
func ClusterRoleBindings() []*rbacv1.ClusterRoleBinding {
	const authenticated, unauthenticated = "system:authenticated", "system:unauthenticated"
	all := []*rbacv1.ClusterRoleBinding{
		bind("cluster-admin", group("system:masters")),
		bind("system:discovery", group(authenticated)),
		bind("system:basic-user", group(authenticated)),
		bind("system:public-info-viewer", group(authenticated), group(unauthenticated)),
		bind("system:monitoring", group("system:monitoring")),
		bind("system:service-account-issuer-discovery", group("system:serviceaccounts")),
		bind("system:node-proxier", user("system:kube-proxy")),
		bind("system:kube-controller-manager", user("system:kube-controller-manager")),
		bind("system:kube-dns", account("kube-dns")),
		bind("system:kube-scheduler", user("system:kube-scheduler")),
		bind("system:volume-scheduler", user("system:kube-scheduler")),
		bind("system:node"),
	}
	for _, c := range controllers() {
		all = append(all, bind("system:controller:"+c.name, account(c.name)))
	}
	return all
}

// Roles are the default ones of namespaces.
func Roles() []*rbacv1.Role {
	role := func(namespace, name string, rules ...rbacv1.PolicyRule) *rbacv1.Role {
		return &rbacv1.Role{ObjectMeta: meta(namespace, name), Rules: rules}
	}
	leader := func(name string) *rbacv1.Role {
		return role(metav1.NamespaceSystem, "system::leader-locking-"+name,
			on(core, "configmaps", "watch"), only(on(core, "configmaps", "get update"), name))
	}
	return []*rbacv1.Role{
		role(metav1.NamespaceSystem, "extension-apiserver-authentication-reader",
			only(on(core, "configmaps", read), "extension-apiserver-authentication")),
		role(metav1.NamespaceSystem, "system:controller:bootstrap-signer", on(core, "secrets", read)),
		role(metav1.NamespaceSystem, "system:controller:token-cleaner", on(core, "secrets", "delete get list watch"), events),
		leader("kube-controller-manager"), leader("kube-scheduler"),
		role(metav1.NamespacePublic, "system:controller:bootstrap-signer",
			on(core, "configmaps", read), only(on(core, "configmaps", "update"), "cluster-info"), events),
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
	system := metav1.NamespaceSystem
	return []*rbacv1.RoleBinding{
		binding(system, "system:controller:bootstrap-signer", account("bootstrap-signer")),
		binding(system, "system:controller:token-cleaner", account("token-cleaner")),
		binding(system, "system::leader-locking-kube-controller-manager", user("system:kube-controller-manager"), account("kube-controller-manager")),
		binding(system, "system::leader-locking-kube-scheduler", user("system:kube-scheduler"), account("kube-scheduler")),
		binding(system, "extension-apiserver-authentication-reader", user("system:kube-controller-manager"), user("system:kube-scheduler")),
		binding(metav1.NamespacePublic, "system:controller:bootstrap-signer", account("bootstrap-signer")),
	}
}
