// Package volumes puts a pod's volumes on disk and keeps them up to date.
//
// It stands between the kubelet, which says for which pods volumes must exist,
// and the runtime, which mounts the paths that come out. The layout is the
// upstream kubelet's:
//
//	<root>/pods/<uid>/volumes/kubernetes.io~<plugin>/<volume>
//	<root>/pods/<uid>/volume-subpaths/<volume>/<container>/<index>
//
// so that either kubelet can take over the other's directory. What a volume
// should contain is computed by pure functions (payload.go, downward.go,
// mounts.go); writing it is one atomic exchange of a symbolic link (atomic.go).
// Everything needed to take a volume down is on disk: a kubelet that was killed
// cleans up what its predecessor left ([Manager.CleanOrphans]).
//
// Secrets and ConfigMaps come from [Objects], which watches exactly those that
// the node's pods refer to.
package volumes
