// Package strake is Kubernetes as a Go library: the map of its parts, and
// [Cluster], which assembles them in one process.
//
// Each part is a package of its own, with a Config, New and Run(ctx), and can be
// used without the others, or with upstream's in their place:
//
//	store          the contract of what keeps the state; store/memory, store/etcd
//	store/cache    the watch cache between the API server and the store
//	apiserver      the Kubernetes API over a Store: an http.Handler, and clients
//	               without a socket. apiserver/resource says what a resource is
//	scheduler      which node a pod gets; scheduler/framework has the plugin interfaces
//	controllers    the runner of controllers, and a folder for each
//	kubelet        the node agent: it makes pods be what their specs say
//	runtime        the contract of what runs containers; runtime/containerd, runtime/fake
//	proxy          services on a node; proxy/nftables programs the kernel
//
// This package puts them together: [ControlPlane] is the store, the API server,
// the scheduler and the controllers, [Node] the kubelet and the proxy of one
// machine, [Cluster] a control plane with nodes. What each needs from outside (a
// listener, certificates, a container runtime) the program hands in; nothing here
// opens a socket or a file by itself. examples/ has whole programs.
package strake
