package bootstrap

import rbacv1 "k8s.io/api/rbac/v1"

// ClusterRoles are the default ones. Each call makes them anew.
func ClusterRoles() []*rbacv1.ClusterRole {
	all := append(forUsers(), forComponents()...)
	for _, c := range controllers() {
		all = append(all, clusterRole("system:controller:"+c.name, c.rules...))
	}
	return all
}

// forUsers are the roles that administrators give, and those that everyone has.
func forUsers() []*rbacv1.ClusterRole {
	const (
		workloads       = "daemonsets deployments deployments/rollback deployments/scale replicasets replicasets/scale statefulsets statefulsets/scale"
		allOfWorkloads  = "controllerrevisions daemonsets daemonsets/status deployments deployments/scale deployments/status replicasets replicasets/scale replicasets/status statefulsets statefulsets/scale statefulsets/status"
		extensions      = "daemonsets deployments deployments/rollback deployments/scale ingresses networkpolicies replicasets replicasets/scale replicationcontrollers/scale"
		allOfExtensions = "daemonsets daemonsets/status deployments deployments/scale deployments/status ingresses ingresses/status networkpolicies replicasets replicasets/scale replicasets/status replicationcontrollers/scale"
		content         = "configmaps persistentvolumeclaims replicationcontrollers replicationcontrollers/scale secrets serviceaccounts services services/proxy"
		visible         = "configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods replicationcontrollers replicationcontrollers/scale serviceaccounts services services/status"
		states          = "bindings limitranges namespaces/status pods/log pods/status replicationcontrollers/status resourcequotas resourcequotas/status"
	)
	return []*rbacv1.ClusterRole{
		aggregate("admin"),
		clusterRole("cluster-admin", on("*", "*", "*"), urls("*", "*")),
		labelled(aggregate("edit"), "admin"),
		labelled(clusterRole("system:aggregate-to-admin",
			on("authorization.k8s.io", "localsubjectaccessreviews", "create"), on(rbacv1.GroupName, "rolebindings roles", readWrite)), "admin"),
		labelled(clusterRole("system:aggregate-to-edit",
			on(core, "pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy", read),
			on(core, "serviceaccounts", "impersonate"), on(core, "pods pods/attach pods/exec pods/portforward pods/proxy", write),
			on(core, "pods/eviction", "create"),
			on(core, content, write),
			on(core, "serviceaccounts/token", "create"), on("core events.k8s.io", "events", write),
			on("apps", workloads, write),
			on("autoscaling", "horizontalpodautoscalers", write), on("batch", "cronjobs jobs", write),
			on("extensions", extensions, write),
			on("policy", "poddisruptionbudgets", write), on("networking.k8s.io", "ingresses networkpolicies", write),
			on("coordination.k8s.io", "leases", readWrite), on("resource.k8s.io", "resourceclaims resourceclaimtemplates", write)), "edit"),
		labelled(clusterRole("system:aggregate-to-view",
			on(core, visible, read),
			on(core, states, read),
			on(core, "namespaces", read), on("core events.k8s.io", "events", read), on("discovery.k8s.io", "endpointslices", read),
			on("apps", allOfWorkloads, read),
			on("autoscaling", "horizontalpodautoscalers horizontalpodautoscalers/status", read),
			on("batch", "cronjobs cronjobs/status jobs jobs/status", read),
			on("extensions", allOfExtensions, read),
			on("policy", "poddisruptionbudgets poddisruptionbudgets/status", read),
			on("networking.k8s.io", "ingresses ingresses/status networkpolicies", read),
			on("resource.k8s.io", "resourceclaims resourceclaims/status resourceclaimtemplates", read)), "view"),
		clusterRole("system:auth-delegator",
			on("authentication.k8s.io", "tokenreviews", "create"), on("authorization.k8s.io", "subjectaccessreviews", "create")),
		clusterRole("system:basic-user",
			on("authorization.k8s.io", "selfsubjectaccessreviews selfsubjectrulesreviews", "create"),
			on("authentication.k8s.io", "selfsubjectreviews", "create")),
		clusterRole("system:certificates.k8s.io:certificatesigningrequests:nodeclient",
			on("certificates.k8s.io", "certificatesigningrequests/nodeclient", "create")),
		clusterRole("system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
			on("certificates.k8s.io", "certificatesigningrequests/selfnodeclient", "create")),
		clusterRole("system:certificates.k8s.io:kube-apiserver-client-approver",
			only(on("certificates.k8s.io", "signers", "approve"), "kubernetes.io/kube-apiserver-client")),
		clusterRole("system:certificates.k8s.io:kube-apiserver-client-kubelet-approver",
			only(on("certificates.k8s.io", "signers", "approve"), "kubernetes.io/kube-apiserver-client-kubelet")),
		clusterRole("system:certificates.k8s.io:kubelet-serving-approver",
			only(on("certificates.k8s.io", "signers", "approve"), "kubernetes.io/kubelet-serving")),
		clusterRole("system:certificates.k8s.io:legacy-unknown-approver",
			only(on("certificates.k8s.io", "signers", "approve"), "kubernetes.io/legacy-unknown")),
		clusterRole("system:cluster-trust-bundle-discovery", on("certificates.k8s.io", "clustertrustbundles", read)),
		clusterRole("system:discovery",
			urls("get", "/api /api/* /apis /apis/* /healthz /livez /openapi /openapi/* /readyz /version /version/")),
		clusterRole("system:kubelet-api-admin",
			on(core, "nodes", read), on(core, "nodes", "proxy"), on(core, "nodes/log nodes/metrics nodes/proxy nodes/stats", "*"),
			on(core, "nodes/configz nodes/healthz nodes/pods", "*")),
		clusterRole("system:monitoring",
			urls("get", "/flagz /healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/* /statusz"),
			on(core, "nodes/metrics", "get")),
		clusterRole("system:public-info-viewer", urls("get", "/healthz /livez /readyz /version /version/")),
		clusterRole("system:service-account-issuer-discovery",
			urls("get", "/.well-known/openid-configuration /.well-known/openid-configuration/ /openid/v1/jwks /openid/v1/jwks/")),
		labelled(aggregate("view"), "edit"),
	}
}

// forComponents are what the parts of a cluster do.
func forComponents() []*rbacv1.ClusterRole {
	return []*rbacv1.ClusterRole{
		clusterRole("system:heapster", on(core, "events namespaces nodes pods", read), on("extensions", "deployments", read)),
		clusterRole("system:kube-aggregator", on(core, "endpoints services", read)),
		clusterRole("system:kube-controller-manager",
			events, on("coordination.k8s.io", "leases", "create"),
			only(on("coordination.k8s.io", "leases", "get update"), "kube-controller-manager"),
			on(core, "secrets serviceaccounts", "create"), on(core, "secrets", "delete"),
			on(core, "configmaps namespaces secrets serviceaccounts", "get"), on(core, "secrets serviceaccounts", update),
			on("authentication.k8s.io", "tokenreviews", "create"), on("authorization.k8s.io", "subjectaccessreviews", "create"),
			on("*", "*", "list watch"), on(core, "serviceaccounts/token", "create")),
		clusterRole("system:kube-dns", on(core, "endpoints services", "list watch")),
		clusterRole("system:kube-scheduler",
			events, on("coordination.k8s.io", "leases", "create"),
			only(on("coordination.k8s.io", "leases", "get list update watch"), "kube-scheduler"),
			on("coordination.k8s.io", "leasecandidates", readWrite), on(core, "nodes", read),
			on(core, "pods", "delete get list watch"), on(core, "bindings pods/binding", "create"),
			on(core, "pods/status", "patch update"), on(core, "replicationcontrollers services", read),
			on("apps extensions", "replicasets", read), on("apps", "statefulsets", read), on("policy", "poddisruptionbudgets", read),
			on(core, "persistentvolumeclaims persistentvolumes", read), on("authentication.k8s.io", "tokenreviews", "create"),
			on("authorization.k8s.io", "subjectaccessreviews", "create"), on("storage.k8s.io", "csinodes", read),
			on("storage.k8s.io", "volumeattachments", read), on(core, "namespaces", read), on("storage.k8s.io", "csidrivers", read),
			on("storage.k8s.io", "csistoragecapacities", read), on("resource.k8s.io", "deviceclasses", read),
			on("resource.k8s.io", "resourceclaims", "get list patch update watch"),
			on("resource.k8s.io", "resourceclaims/status", "get list patch update watch"), on(core, "pods/finalizers", update),
			on("resource.k8s.io", "resourceslices", read), on("resource.k8s.io", "resourceclaims", "create delete"),
			on("resource.k8s.io", "devicetaintrules", read), on("resource.k8s.io", "resourceclaims/binding", "patch update")),
		clusterRole("system:node",
			on("authentication.k8s.io", "tokenreviews", "create"),
			on("authorization.k8s.io", "localsubjectaccessreviews subjectaccessreviews", "create"), on(core, "services", read),
			on(core, "nodes", "create get list watch"), on(core, "nodes/status", "patch update"), on(core, "nodes", "patch update"),
			events, on(core, "pods", read), on(core, "pods", "create delete"), on(core, "pods/status", "patch update"),
			on(core, "pods/eviction", "create"), on(core, "configmaps secrets", read),
			on(core, "persistentvolumeclaims persistentvolumes", "get"), on(core, "endpoints", "get"),
			on("certificates.k8s.io", "certificatesigningrequests", "create get list watch"),
			on("coordination.k8s.io", "leases", "create delete get patch update"), on("storage.k8s.io", "volumeattachments", "get"),
			on(core, "serviceaccounts/token", "create"), on(core, "persistentvolumeclaims/status", "get patch update"),
			on("storage.k8s.io", "csidrivers", read), on("storage.k8s.io", "csinodes", "create delete get patch update"),
			on("node.k8s.io", "runtimeclasses", read), on("resource.k8s.io", "resourceclaims", "get"),
			on("resource.k8s.io", "resourceslices", "deletecollection"), on("certificates.k8s.io", "clustertrustbundles", read),
			on(core, "serviceaccounts", "get"), on("certificates.k8s.io", "podcertificaterequests", "create get list watch")),
		clusterRole("system:node-bootstrapper", on("certificates.k8s.io", "certificatesigningrequests", "create get list watch")),
		clusterRole("system:node-problem-detector", on(core, "nodes", "get"), on(core, "nodes/status", "patch"), events),
		clusterRole("system:node-proxier",
			on(core, "endpoints services", "list watch"), on(core, "nodes", read), events,
			on("networking.k8s.io", "servicecidrs", "list watch"), on("discovery.k8s.io", "endpointslices", "list watch")),
		clusterRole("system:persistent-volume-provisioner",
			on(core, "persistentvolumes", "create delete get list watch"), on(core, "persistentvolumeclaims", "get list update watch"),
			on("storage.k8s.io", "storageclasses", read), on(core, "events", "watch"), events),
		clusterRole("system:volume-scheduler",
			on(core, "persistentvolumes", "get list patch update watch"), on("storage.k8s.io", "storageclasses", read),
			on(core, "persistentvolumeclaims", "get list patch update watch")),
	}
}

// Rules are those of a default cluster role; none where there is no such.
func Rules(name string) []rbacv1.PolicyRule {
	for _, r := range ClusterRoles() {
		if r.Name == name {
			return r.Rules
		}
	}
	return nil
}
