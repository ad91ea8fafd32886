package logs

import (
	"bytes"
	"io"
)

// tailBlock is how much is read at a time from the end of a file.
const tailBlock = 16 << 10

// tailOffset finds where the last n lines of a file of the given size begin,
// reading it backwards. Pieces of a line, marked P, count as one line together
// with their end. A last record without a line feed counts too. stream, when
// not empty, counts only lines of that stream.
func tailOffset(r io.ReaderAt, size, n int64, stream Stream) (int64, error) {
	if n <= 0 {
		return size, nil
	}
	var (
		seen  int64  // complete lines found, from the end
		begin = size // where the oldest record that belongs begins
		end   = size // of the data not looked at yet
		carry []byte // head of a record whose beginning is in an earlier block
		buf   = make([]byte, tailBlock)
	)
	// record handles one record; false ends the search.
	record := func(at int64, raw []byte) bool {
		if len(raw) == 0 {
			return true
		}
		line, err := ParseLine(raw)
		if err == nil && stream != "" && line.Stream != stream {
			return true
		}
		if err != nil || !line.Partial {
			// The end of a line: of one more, unless n are complete.
			if seen == n {
				return false
			}
			seen++
		} else if seen == 0 {
			// The file ends in the middle of a line.
			seen++
		}
		begin = at
		return true
	}
	for end > 0 {
		start := max(0, end-tailBlock)
		block := buf[:end-start]
		if _, err := r.ReadAt(block, start); err != nil && err != io.EOF {
			return 0, err
		}
		data := append(append(make([]byte, 0, len(block)+len(carry)), block...), carry...)
		for {
			// The record's own line feed is not a separator before it.
			i := bytes.LastIndexByte(bytes.TrimSuffix(data, []byte("\n")), '\n')
			if i < 0 {
				break
			}
			if !record(start+int64(i)+1, data[i+1:]) {
				return begin, nil
			}
			data = data[:i+1]
		}
		carry = data
		end = start
	}
	record(0, carry)
	return begin, nil
}
