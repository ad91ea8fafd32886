package embedded

import (
	"io"
	"sync"
	"sync/atomic"

	"github.com/containerd/log"
	"github.com/go-logr/logr"
	"github.com/sirupsen/logrus"
)

// logTo makes the logrus entry that containerd asks for and hands its lines to l.
func logTo(l logr.Logger) *log.Entry {
	logger := logrus.New()
	logger.SetOutput(io.Discard)
	// containerd ends the process where its socket breaks; a library must not.
	logger.ExitFunc = func(int) {}
	if l.V(4).Enabled() {
		logger.SetLevel(logrus.DebugLevel)
	}
	logger.AddHook(forward{l})
	return logrus.NewEntry(logger)
}

// What containerd says while it answers a call has no context of ours and goes to
// its one logger for the process. That one is handed to the server that started
// last; otherwise it would write to standard error.
var (
	replaceGlobal sync.Once
	lastStarted   atomic.Pointer[logr.Logger]
)

func takeGlobalLog(l logr.Logger) {
	lastStarted.Store(&l)
	replaceGlobal.Do(func() {
		logger := logrus.New()
		logger.SetOutput(io.Discard)
		logger.ExitFunc = func(int) {}
		logger.AddHook(forwardLast{})
		log.L = logrus.NewEntry(logger)
	})
}

type forwardLast struct{}

func (forwardLast) Levels() []logrus.Level { return logrus.AllLevels }

func (forwardLast) Fire(entry *logrus.Entry) error {
	if to := lastStarted.Load(); to != nil {
		return forward{*to}.Fire(entry)
	}
	return nil
}

// forward hands lines on: warnings and errors at V(0), the rest at V(4). What
// containerd calls an error is often one that the caller mends or has brought about
// (two pulls that meet at a layer they share, a client that hung up, a stop); what
// is one reaches the caller as such. So no line of it is an error of ours.
type forward struct{ to logr.Logger }

func (forward) Levels() []logrus.Level { return logrus.AllLevels }

func (f forward) Fire(entry *logrus.Entry) error {
	fields := make([]any, 0, 2*len(entry.Data))
	var cause error
	for name, value := range entry.Data {
		if err, ok := value.(error); ok && name == logrus.ErrorKey {
			cause = err
			continue
		}
		fields = append(fields, name, value)
	}
	if entry.Level <= logrus.WarnLevel {
		if cause != nil {
			fields = append(fields, "error", cause.Error())
		}
		f.to.Info(entry.Message, fields...)
	} else {
		f.to.V(4).Info(entry.Message, fields...)
	}
	return nil
}
