// Package plugins is the list of plugins that the scheduler runs by default, with
// upstream's weights and in upstream's order. Each plugin is in a folder of its
// own.
package plugins

import (
	"github.com/strake-io/strake/scheduler/framework"
	"github.com/strake-io/strake/scheduler/plugins/defaultpreemption"
	"github.com/strake-io/strake/scheduler/plugins/imagelocality"
	"github.com/strake-io/strake/scheduler/plugins/nodeaffinity"
	"github.com/strake-io/strake/scheduler/plugins/nodename"
	"github.com/strake-io/strake/scheduler/plugins/nodeports"
	"github.com/strake-io/strake/scheduler/plugins/noderesources"
	"github.com/strake-io/strake/scheduler/plugins/nodeunschedulable"
	"github.com/strake-io/strake/scheduler/plugins/prioritysort"
	"github.com/strake-io/strake/scheduler/plugins/schedulinggates"
	"github.com/strake-io/strake/scheduler/plugins/tainttoleration"
)

// Default returns the default profile but for the bind plugin, which the
// scheduler adds where a profile has none. The slice is the caller's to change.
func Default() []framework.Weighted {
	return []framework.Weighted{
		{Plugin: schedulinggates.New()},
		{Plugin: prioritysort.New()},
		{Plugin: nodeunschedulable.New()},
		{Plugin: nodename.New()},
		{Plugin: tainttoleration.New(), Weight: 3},
		{Plugin: nodeaffinity.New(), Weight: 2},
		{Plugin: nodeports.New()},
		{Plugin: noderesources.NewFit(), Weight: 1},
		{Plugin: defaultpreemption.New()},
		{Plugin: noderesources.NewBalanced(), Weight: 1},
		{Plugin: imagelocality.New(), Weight: 1},
	}
}
