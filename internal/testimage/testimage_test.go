package testimage

import (
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

func TestServe(t *testing.T) {
	r := Serve(t)
	digests := map[string]string{}
	for _, tag := range []string{"v1", "v2", "latest", "nonroot"} {
		ref, err := name.ParseReference(r.Ref(tag), name.Insecure)
		if err != nil {
			t.Fatal(err)
		}
		image, err := remote.Image(ref)
		if err != nil {
			t.Fatalf("%s: %v", ref, err)
		}
		config, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if config.OS != "linux" || len(config.Config.Entrypoint) != 1 {
			t.Errorf("%s: configuration %+v", tag, config.Config)
		}
		digest, err := image.Digest()
		if err != nil {
			t.Fatal(err)
		}
		digests[tag] = digest.String()
	}
	if digests["v1"] != digests["latest"] || digests["v1"] == digests["v2"] {
		t.Errorf("latest must be v1 and not v2: %v", digests)
	}
}
