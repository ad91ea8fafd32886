package openapi

// optional are the fields, by model and name, that clients may leave out although
// their Go tags say nothing of it; upstream marks them in comments, which
// reflection does not see.
var optional = map[string]bool{
	"io.k8s.api.core.v1.ContainerImage.names":          true,
	"io.k8s.api.core.v1.ProjectedVolumeSource.sources": true,
}
