package framework

import (
	"fmt"
	"strings"
)

// Code is the outcome of a plugin's step.
type Code int8

const (
	// Success is the code of a nil Status.
	Success Code = iota
	// Error is an unexpected failure; the pod is tried again after a back-off.
	Error
	// Unschedulable says no, and that the removal of pods might help.
	Unschedulable
	// UnschedulableAndUnresolvable says no, whichever pods are removed.
	UnschedulableAndUnresolvable
	// Skip says that the plugin has nothing to do here.
	Skip
)

// String is upstream's word for the code.
func (c Code) String() string {
	switch c {
	case Success:
		return "Success"
	case Error:
		return "Error"
	case Unschedulable:
		return "Unschedulable"
	case UnschedulableAndUnresolvable:
		return "UnschedulableAndUnresolvable"
	case Skip:
		return "Skip"
	}
	return fmt.Sprintf("Code(%d)", int8(c))
}

// Status is what a plugin answers, as data. A nil *Status is success. A Status is
// never changed once it is returned, so a plugin may return the same one always.
type Status struct {
	Code Code
	// Reasons are shown to the user, counted over the nodes.
	Reasons []string
	// Err is the cause of an Error.
	Err error
}

// NewStatus returns a status with reasons.
func NewStatus(code Code, reasons ...string) *Status {
	return &Status{Code: code, Reasons: reasons}
}

// AsStatus wraps an error; nil is success.
func AsStatus(err error) *Status {
	if err == nil {
		return nil
	}
	return &Status{Code: Error, Reasons: []string{err.Error()}, Err: err}
}

// IsSuccess is also true for nil.
func (s *Status) IsSuccess() bool { return s == nil || s.Code == Success }

// IsSkip says that the plugin has nothing to do.
func (s *Status) IsSkip() bool { return s != nil && s.Code == Skip }

// IsRejected says that the plugin said no, as opposed to having failed.
func (s *Status) IsRejected() bool {
	return s != nil && (s.Code == Unschedulable || s.Code == UnschedulableAndUnresolvable)
}

// Message is the reasons in one line.
func (s *Status) Message() string {
	if s == nil {
		return ""
	}
	return strings.Join(s.Reasons, ", ")
}

// AsError is nil for success, else an error that wraps Err.
func (s *Status) AsError() error {
	switch {
	case s.IsSuccess() || s.IsSkip():
		return nil
	case s.Err != nil:
		return s.Err
	}
	return fmt.Errorf("%s: %s", s.Code, s.Message())
}
