// Command kubectl is the kubectl of k8s.io/kubectl, unmodified, for machines that
// have none. It is a module of its own, so that nothing else depends on it.
package main

import (
	"os"

	"k8s.io/component-base/cli"
	"k8s.io/kubectl/pkg/cmd"

	// The authentication plugins that the released kubectl links.
	_ "k8s.io/client-go/plugin/pkg/client/auth"
)

func main() {
	os.Exit(cli.Run(cmd.NewDefaultKubectlCommand()))
}
