package main

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// tape understands what kubectl cp asks of tar: "tar cf - PATH..." packs to stdout,
// "tar -xmf - [-C DIR]" unpacks stdin.
func tape(args []string) int {
	mode, dir := "", "."
	var names []string
	for i := 0; i < len(args); i++ {
		switch a := args[i]; {
		case i == 0:
			mode = a
		case a == "-C" && i+1 < len(args):
			i++
			dir = args[i]
		case a != "-":
			names = append(names, a)
		}
	}
	var err error
	switch {
	case strings.Contains(mode, "c"):
		err = pack(names)
	case strings.Contains(mode, "x"):
		err = unpack(dir)
	default:
		err = errors.New("tar: neither c nor x")
	}
	if err != nil {
		return fail(err)
	}
	return 0
}

func pack(names []string) error {
	w := tar.NewWriter(os.Stdout)
	for _, name := range names {
		err := filepath.Walk(name, func(path string, info os.FileInfo, err error) error {
			if err != nil {
				return err
			}
			header, err := tar.FileInfoHeader(info, "")
			if err != nil {
				return err
			}
			header.Name = strings.TrimPrefix(path, "/")
			if err := w.WriteHeader(header); err != nil || !info.Mode().IsRegular() {
				return err
			}
			f, err := os.Open(path)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = io.Copy(w, f)
			return err
		})
		if err != nil {
			return err
		}
	}
	return w.Close()
}

func unpack(dir string) error {
	for r := tar.NewReader(os.Stdin); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		path := filepath.Join(dir, filepath.Clean("/"+header.Name))
		if header.Typeflag == tar.TypeDir {
			if err := os.MkdirAll(path, 0o755); err != nil {
				return err
			}
			continue
		}
		f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, header.FileInfo().Mode().Perm())
		if err != nil {
			return err
		}
		_, err = io.Copy(f, r)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
}
