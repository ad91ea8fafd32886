package apiserver

import (
	"compress/gzip"
	"io"
	"net/http"
	"strings"
	"sync"
)

// compressFrom is the size from which an answer is compressed. Below it, packing
// costs more time than sending.
const compressFrom = 128 << 10

var gzipWriters = sync.Pool{New: func() any {
	z, err := gzip.NewWriterLevel(io.Discard, gzip.BestSpeed)
	if err != nil {
		return gzip.NewWriter(io.Discard)
	}
	return z
}}

// body starts the answer and returns where to write it, and what to call at its
// end. It is compressed where the client takes that and the answer is large.
func (x *exchange) body(code int) (io.Writer, func() error) {
	if x.r.Method != http.MethodGet || !strings.Contains(x.r.Header.Get("Accept-Encoding"), "gzip") {
		x.w.WriteHeader(code)
		return x.w, func() error { return nil }
	}
	x.w.Header().Add("Vary", "Accept-Encoding")
	d := &deferred{w: x.w, code: code}
	return d, d.finish
}

// deferred holds an answer back until its size says whether to compress it.
type deferred struct {
	w    *recorder
	code int
	held []byte
	out  io.Writer // nil: still held back
	zip  *gzip.Writer
}

func (d *deferred) Write(p []byte) (int, error) {
	if d.out != nil {
		return d.out.Write(p)
	}
	if len(d.held)+len(p) < compressFrom {
		d.held = append(d.held, p...)
		return len(p), nil
	}
	d.w.Header().Set("Content-Encoding", "gzip")
	d.w.WriteHeader(d.code)
	zip, ok := gzipWriters.Get().(*gzip.Writer)
	if !ok {
		zip = gzip.NewWriter(d.w)
	}
	zip.Reset(d.w)
	d.zip, d.out = zip, zip
	if _, err := d.out.Write(d.held); err != nil {
		return 0, err
	}
	d.held = nil
	return d.out.Write(p)
}

func (d *deferred) finish() error {
	if d.out == nil {
		d.w.WriteHeader(d.code)
		_, err := d.w.Write(d.held)
		return err
	}
	err := d.zip.Close()
	d.zip.Reset(io.Discard)
	gzipWriters.Put(d.zip)
	return err
}
