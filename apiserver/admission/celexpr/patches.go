package celexpr

import (
	"github.com/google/cel-go/cel"
)

// Types that mutations evaluate to: an apply configuration, and a list of JSON patch
// operations. [Declares.Patches] declares them.
var (
	ObjectType  = cel.ObjectType("Object")
	PatchesType = cel.ListType(cel.ObjectType("JSONPatch"))
)
