package codec

import (
	"encoding/binary"
	"math/bits"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// protobufMagic starts every protobuf object of Kubernetes. After it comes a
// runtime.Unknown: 1 = TypeMeta{1 = apiVersion, 2 = kind}, 2 = the object,
// 3 = contentEncoding, 4 = contentType (the last two empty, but written).
var protobufMagic = []byte{'k', '8', 's', 0}

var envelopeTail = []byte{0x1a, 0, 0x22, 0}

const (
	tag1 = 1<<3 | 2
	tag2 = 2<<3 | 2
)

func varintLen(n int) int { return (bits.Len64(uint64(n)|1) + 6) / 7 }

func appendBytesField(dst []byte, tag byte, value string) []byte {
	dst = append(dst, tag)
	dst = binary.AppendUvarint(dst, uint64(len(value)))
	return append(dst, value...)
}

// fieldLen is the size of a bytes field with n bytes in it.
func fieldLen(n int) int { return 1 + varintLen(n) + n }

// appendEnvelopeHead writes everything of the envelope before the object's n bytes.
func appendEnvelopeHead(dst []byte, gvk schema.GroupVersionKind, n int) []byte {
	version := gvk.GroupVersion().String()
	dst = append(dst, protobufMagic...)
	dst = append(dst, tag1)
	dst = binary.AppendUvarint(dst, uint64(fieldLen(len(version))+fieldLen(len(gvk.Kind))))
	dst = appendBytesField(dst, tag1, version)
	dst = appendBytesField(dst, tag2, gvk.Kind)
	dst = append(dst, tag2)
	return binary.AppendUvarint(dst, uint64(n))
}

func appendEnvelope(dst []byte, gvk schema.GroupVersionKind, item []byte) []byte {
	dst = appendEnvelopeHead(dst, gvk, len(item))
	dst = append(dst, item...)
	return append(dst, envelopeTail...)
}

// appendProtobufEvent writes one frame of a watch: a length of four bytes, then
// metav1.WatchEvent{1 = type, 2 = RawExtension{1 = object in its envelope}}.
func appendProtobufEvent(dst []byte, event string, object []byte) []byte {
	extension := fieldLen(len(object))
	dst = binary.BigEndian.AppendUint32(dst, uint32(fieldLen(len(event))+fieldLen(extension)))
	dst = appendBytesField(dst, tag1, event)
	dst = append(dst, tag2)
	dst = binary.AppendUvarint(dst, uint64(extension))
	dst = append(dst, tag1)
	dst = binary.AppendUvarint(dst, uint64(len(object)))
	return append(dst, object...)
}
