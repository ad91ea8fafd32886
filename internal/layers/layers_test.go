// Package layers holds the test of who may import whom; ARCHITECTURE.md explains
// the layers.
package layers

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/strake-io/strake"

// allowed lists, for each top-level folder, the folders of ours that its packages
// may import beside internal/ and itself. "*" is everything.
var allowed = map[string][]string{
	"":            {"*"}, // the root package
	"examples":    {"*"},
	"kubelet":     {"runtime"},
	"scheduler":   {},
	"controllers": {},
	"proxy":       {},
	"apiserver":   {"store"},
	"runtime":     {},
	"store":       {},
	"internal":    {},
}

// forbidden are prefixes that nothing of ours imports: what they do is what this
// project exists to do.
var forbidden = []string{
	"k8s.io/kubernetes",
	"k8s.io/apiserver/pkg/server",
	"k8s.io/apiserver/pkg/storage",
	"k8s.io/apiserver/pkg/registry",
	"k8s.io/apiserver/pkg/endpoints",
}

func TestLayers(t *testing.T) {
	root := filepath.Join("..", "..")
	files := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && path != root && d.Name() != ".." || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") {
			return nil
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		files++
		return check(t, rel, path)
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 20 {
		t.Fatalf("found only %d Go files: looked in the wrong place", files)
	}
}

func check(t *testing.T, rel, path string) error {
	layer, _, nested := strings.Cut(filepath.ToSlash(rel), "/")
	if !nested {
		layer = ""
	}
	may, known := allowed[layer]
	if !known {
		t.Errorf("%s: %q is not a layer; see ARCHITECTURE.md", rel, layer)
		return nil
	}
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
	if err != nil {
		return err
	}
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return err
		}
		for _, prefix := range forbidden {
			if imported == prefix || strings.HasPrefix(imported, prefix+"/") {
				t.Errorf("%s imports %s, which nothing here may", rel, imported)
			}
		}
		// A test may drive its package with the parts around it.
		if !strings.HasSuffix(rel, "_test.go") && !within(imported, layer, may) {
			t.Errorf("%s imports %s: layer %q may import only internal and %q", rel, imported, layer, may)
		}
	}
	return nil
}

func within(imported, layer string, may []string) bool {
	of, ours := strings.CutPrefix(imported, module)
	if !ours {
		return true
	}
	target, _, _ := strings.Cut(strings.TrimPrefix(of, "/"), "/")
	if target == layer || target == "internal" {
		return true
	}
	for _, m := range may {
		if m == "*" || m == target {
			return true
		}
	}
	return false
}
