package embedded

import (
	"io"

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
	if l.GetSink() == nil {
		l = logr.Discard()
	}
	if l.V(4).Enabled() {
		logger.SetLevel(logrus.DebugLevel)
	}
	logger.AddHook(forward{l})
	return logrus.NewEntry(logger)
}

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
	switch {
	case entry.Level <= logrus.ErrorLevel:
		f.to.Error(cause, entry.Message, fields...)
	case entry.Level == logrus.WarnLevel:
		if cause != nil {
			fields = append(fields, "error", cause.Error())
		}
		f.to.Info(entry.Message, fields...)
	default:
		f.to.V(4).Info(entry.Message, fields...)
	}
	return nil
}
