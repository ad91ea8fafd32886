package etcd

import (
	"errors"
	"fmt"

	"github.com/go-logr/logr"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// zapLogger leads what etcd logs to a logr.Logger. What etcd cannot survive
// (a disk that fails under its log) panics in place of ending the process at
// once, so that the host sees where it came from.
func zapLogger(log logr.Logger) *zap.Logger {
	return zap.New(&zapCore{log: log}, zap.WithFatalHook(zapcore.WriteThenPanic))
}

// zapCore is a zapcore.Core over logr.
type zapCore struct {
	log    logr.Logger
	fields []zapcore.Field
}

// passing are the errors that are none: etcd tries again until it succeeds. A member
// that has only just started has not yet written the term that it looks for here.
var passing = map[string]bool{"failed to update storage version": true}

// verbosity of logr for a level of zap.
func verbosity(level zapcore.Level) int {
	switch {
	case level >= zapcore.WarnLevel:
		return 1
	case level == zapcore.InfoLevel:
		return 4
	default:
		return 6
	}
}

func (c *zapCore) Enabled(level zapcore.Level) bool {
	return level >= zapcore.ErrorLevel || c.log.V(verbosity(level)).Enabled()
}

func (c *zapCore) With(fields []zapcore.Field) zapcore.Core {
	return &zapCore{log: c.log, fields: append(c.fields[:len(c.fields):len(c.fields)], fields...)}
}

func (c *zapCore) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(entry.Level) {
		return checked.AddCore(entry, c)
	}
	return checked
}

func (c *zapCore) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	encoder := zapcore.NewMapObjectEncoder()
	for _, f := range append(c.fields[:len(c.fields):len(c.fields)], fields...) {
		f.AddTo(encoder)
	}
	values := make([]any, 0, 2*len(encoder.Fields))
	var err error
	for k, v := range encoder.Fields {
		if k == "error" {
			err = errors.New(fmt.Sprint(v))
			continue
		}
		values = append(values, k, v)
	}
	if entry.Level >= zapcore.ErrorLevel && !passing[entry.Message] {
		c.log.Error(err, "etcd: "+entry.Message, values...)
		return nil
	}
	if err != nil {
		values = append(values, "error", err.Error())
	}
	c.log.V(verbosity(entry.Level)).Info("etcd: "+entry.Message, values...)
	return nil
}

func (c *zapCore) Sync() error { return nil }
