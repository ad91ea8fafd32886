package apiserver

import (
	"unicode/utf8"

	utilnet "k8s.io/apimachinery/pkg/util/net"
)

// The Warning headers of one answer hold this many characters. When that is passed,
// each is cut to the second number, and after that many again there are no more.
const (
	maxWarnings = 4 << 10
	maxWarning  = 256
)

// warnings are those that one request has earned, in order.
type warnings struct {
	texts   []string
	given   map[string]bool
	written int
	cutting bool
}

// warn sends a warning to the client, each text once. It must come before the body.
func (x *exchange) warn(message string) {
	w := &x.warnings
	if message == "" || w.given[message] || w.cutting && w.written >= maxWarnings {
		return
	}
	if w.given == nil {
		w.given = map[string]bool{}
	}
	w.given[message] = true
	w.texts = append(w.texts, message)
	if !w.cutting && w.written+utf8.RuneCountInString(message) > maxWarnings {
		w.cutting, w.written = true, 0
		x.w.Header().Del("Warning")
		for _, text := range w.texts {
			x.addWarning(text)
		}
		return
	}
	x.addWarning(message)
}

func (x *exchange) addWarning(text string) {
	n := utf8.RuneCountInString(text)
	if x.warnings.cutting && n > maxWarning {
		text, n = string([]rune(text)[:maxWarning]), maxWarning
	}
	header, err := utilnet.NewWarningHeader(299, "-", text)
	if err != nil {
		// It has characters that no header may have.
		return
	}
	x.warnings.written += n
	x.w.Header().Add("Warning", header)
}
