package logs

import (
	"errors"
	"io"
	"time"
)

// stampFormat is what kubectl logs --timestamps shows.
const stampFormat = "2006-01-02T15:04:05.000000000Z07:00"

// errLimit ends the output after LimitBytes.
var errLimit = errors.New("limit of bytes is reached")

func limitEnd(err error) error {
	if errors.Is(err, errLimit) {
		return nil
	}
	return err
}

// printer writes records as opts say. A line that came in pieces gets one time.
type printer struct {
	opts           Options
	stdout, stderr io.Writer
	left           int64 // bytes; negative: no limit
	open           map[Stream]bool
	buf            []byte
}

func newPrinter(opts Options, stdout, stderr io.Writer) *printer {
	p := &printer{opts: opts, stdout: stdout, stderr: stderr, left: -1, open: map[Stream]bool{}}
	if opts.LimitBytes != nil {
		p.left = *opts.LimitBytes
	}
	return p
}

// record prints one record. What is not in the format is shown as it is, so
// that a foreign file is of some use.
func (p *printer) record(raw []byte) error {
	line, err := ParseLine(raw)
	if err != nil {
		return p.write(p.stdout, raw)
	}
	if p.opts.Stream != "" && line.Stream != p.opts.Stream {
		return nil
	}
	if line.Time.Before(p.opts.Since) {
		return nil
	}
	b := p.buf[:0]
	if p.opts.Timestamps && !p.open[line.Stream] {
		b = line.Time.In(time.Local).AppendFormat(b, stampFormat)
		b = append(b, ' ')
	}
	b = append(b, line.Text...)
	if !line.Partial {
		b = append(b, '\n')
	}
	p.open[line.Stream] = line.Partial
	p.buf = b
	if line.Stream == Stderr {
		return p.write(p.stderr, b)
	}
	return p.write(p.stdout, b)
}

func (p *printer) write(w io.Writer, b []byte) error {
	if w == nil {
		return nil
	}
	if p.left >= 0 && int64(len(b)) >= p.left {
		if _, err := w.Write(b[:p.left]); err != nil {
			return err
		}
		p.left = 0
		return errLimit
	}
	if p.left > 0 {
		p.left -= int64(len(b))
	}
	_, err := w.Write(b)
	return err
}
