package codec

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// List writes a list of n items of which item returns the i-th encoding, straight
// to w. It asks for each item once. Protobuf needs the sizes first and keeps
// references to the encodings; YAML and indented JSON are made whole.
func List(w io.Writer, out Output, gvk schema.GroupVersionKind, meta metav1.ListMeta, n int, item func(i int) ([]byte, error)) error {
	switch {
	case out.Media == Protobuf:
		return protobufList(w, gvk, meta, n, item)
	case out.Media == YAML || out.Pretty:
		var b bytes.Buffer
		if err := jsonList(&b, gvk, meta, n, item); err != nil {
			return err
		}
		data, err := finishJSON(out, b.Bytes())
		if err != nil {
			return err
		}
		_, err = w.Write(data)
		return err
	}
	buffered := bufio.NewWriterSize(w, 32<<10)
	if err := jsonList(buffered, gvk, meta, n, item); err != nil {
		return err
	}
	if _, err := buffered.WriteString("\n"); err != nil {
		return err
	}
	return buffered.Flush()
}

func jsonList(w io.Writer, gvk schema.GroupVersionKind, meta metav1.ListMeta, n int, item func(i int) ([]byte, error)) error {
	m, err := json.Marshal(meta)
	if err != nil {
		return err
	}
	head := appendJSONObject(nil, gvk, []byte(`{}`))
	head = append(head[:len(head)-1], `,"metadata":`...)
	if n == 0 && gvk.Kind == "PartialObjectMetadataList" {
		// Upstream's has no list rather than an empty one.
		_, err := w.Write(append(append(head, m...), `,"items":null}`...))
		return err
	}
	head = append(append(head, m...), `,"items":[`...)
	if _, err := w.Write(head); err != nil {
		return err
	}
	for i := range n {
		if i > 0 {
			if _, err := w.Write([]byte{','}); err != nil {
				return err
			}
		}
		data, err := item(i)
		if err != nil {
			return err
		}
		if _, err := w.Write(data); err != nil {
			return err
		}
	}
	_, err = w.Write([]byte("]}"))
	return err
}

// protobufList: every list type of Kubernetes is 1 = ListMeta, 2 = repeated items.
func protobufList(w io.Writer, gvk schema.GroupVersionKind, meta metav1.ListMeta, n int, item func(i int) ([]byte, error)) error {
	m, err := meta.Marshal()
	if err != nil {
		return err
	}
	items := make([][]byte, n)
	size := fieldLen(len(m))
	for i := range items {
		if items[i], err = item(i); err != nil {
			return err
		}
		size += fieldLen(len(items[i]))
	}
	buffered := bufio.NewWriterSize(w, 32<<10)
	head := appendEnvelopeHead(nil, gvk, size)
	head = appendBytesField(head, tag1, string(m))
	if _, err := buffered.Write(head); err != nil {
		return err
	}
	var frame [binary.MaxVarintLen64 + 1]byte
	frame[0] = tag2
	for _, data := range items {
		k := binary.PutUvarint(frame[1:], uint64(len(data)))
		if _, err := buffered.Write(frame[:1+k]); err != nil {
			return err
		}
		if _, err := buffered.Write(data); err != nil {
			return err
		}
	}
	if _, err := buffered.Write(envelopeTail); err != nil {
		return err
	}
	return buffered.Flush()
}

// FrameHeader is the length of what is in front of each event of a watch in
// protobuf: its size.
const FrameHeader = 4

// AppendEvent appends one event of a watch, with an object made from its item.
func AppendEvent(dst []byte, media Media, event string, gvk schema.GroupVersionKind, item []byte) []byte {
	if media == Protobuf {
		return appendProtobufEvent(dst, event, appendEnvelope(nil, gvk, item))
	}
	dst = append(dst, `{"type":"`...)
	dst = append(dst, event...)
	dst = append(dst, `","object":`...)
	dst = appendJSONObject(dst, gvk, item)
	return append(dst, "}\n"...)
}
