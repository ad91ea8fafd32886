// Package logs reads and rotates the log files of containers.
//
// Runtimes write one line per record in the CRI's format,
//
//	2026-01-02T15:04:05.123456789Z stdout F text
//
// where P in place of F marks a piece of a longer line. [Reader] serves what
// kubectl logs asks for from such files; [Rotator] keeps them from growing
// without bound. The kubelet's HTTP server stands in front of the first, the
// kubelet runs the second.
package logs
