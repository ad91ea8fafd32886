// Package batch declares the resources of batch/v1: jobs and cron jobs.
//
// Their pod templates are checked by apiserver/resources/podspec as the pods are
// that will come of them.
package batch

import (
	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/strake-io/strake/apiserver/resource"
)

// Resources are the group's resources.
func Resources() []*resource.Resource {
	return []*resource.Resource{cronJobs(), jobs()}
}

func gvk(kind string) schema.GroupVersionKind { return batchv1.SchemeGroupVersion.WithKind(kind) }
