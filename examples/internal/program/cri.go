package program

import (
	"github.com/strake-io/strake/runtime/cri"
)

func chooseCRI(f *Flags) (*Containers, error) {
	r, err := cri.New(cri.Config{Endpoint: f.RuntimeEndpoint})
	if err != nil {
		return nil, err
	}
	return &Containers{Runtime: r, What: "the CRI runtime at " + f.RuntimeEndpoint}, nil
}
