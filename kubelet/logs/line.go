package logs

import (
	"bytes"
	"errors"
	"time"
)

// Stream is where a container wrote a line.
type Stream string

const (
	Stdout Stream = "stdout"
	Stderr Stream = "stderr"
)

// Line is one record of a log file.
type Line struct {
	Time   time.Time
	Stream Stream
	// Partial says that the next record of the stream continues the line.
	Partial bool
	// Text without the record's line feed.
	Text []byte
}

// ErrFormat says that a record is not in the CRI's format.
var ErrFormat = errors.New("logs: record is not in the CRI format")

// ParseLine parses a record, with or without its line feed. Text points into
// record.
func ParseLine(record []byte) (Line, error) {
	record = bytes.TrimSuffix(record, []byte("\n"))
	stamp, rest, ok := bytes.Cut(record, []byte(" "))
	if !ok {
		return Line{}, ErrFormat
	}
	stream, rest, ok := bytes.Cut(rest, []byte(" "))
	if !ok {
		return Line{}, ErrFormat
	}
	tags, text, ok := bytes.Cut(rest, []byte(" "))
	if !ok {
		// An empty line may lack the space after the tag.
		tags, text = rest, nil
	}
	var line Line
	var err error
	if line.Time, err = time.Parse(time.RFC3339Nano, string(stamp)); err != nil {
		return Line{}, ErrFormat
	}
	switch Stream(stream) {
	case Stdout:
		line.Stream = Stdout
	case Stderr:
		line.Stream = Stderr
	default:
		return Line{}, ErrFormat
	}
	// Tags are separated by colons; only the first has a meaning so far.
	first, _, _ := bytes.Cut(tags, []byte(":"))
	switch string(first) {
	case "P":
		line.Partial = true
	case "F":
	default:
		return Line{}, ErrFormat
	}
	line.Text = text
	return line, nil
}

// AppendLine appends a record to b, as runtimes write it.
func AppendLine(b []byte, l Line) []byte {
	b = l.Time.AppendFormat(b, time.RFC3339Nano)
	b = append(b, ' ')
	b = append(b, l.Stream...)
	if l.Partial {
		b = append(b, " P "...)
	} else {
		b = append(b, " F "...)
	}
	b = append(b, l.Text...)
	return append(b, '\n')
}
