// Package history judges what concurrent clients of a revisioned map saw.
//
// Clients record each operation with its call, its return and what it answered, or
// that the outcome is not known, in a [Recorder]. One watch of everything, the
// witness, is written to a [Log]: every write that happened, in the order of
// revisions. A [Checker] then judges rounds of operations:
//
//   - every acknowledged write is in the log, at its revision and as it was written;
//     every write in the log was made by somebody, once, and by nobody who was told
//     that nothing happened;
//   - the operations are linearizable, revisions included. That is decided by
//     porcupine with [Step] as its model; a history that is not is drawn into a file.
//     An operation of unknown outcome took effect at any time after its call if the
//     log has it, and never otherwise; it may do so rounds later;
//   - all other watches and reads of old revisions agree with the log ([Log.Between],
//     [Log.At]).
//
// The package knows no store and no protocol: store/historytest drives a store.Store
// with it, and the tests of examples/master the REST API.
//
// Each such test runs for some seconds. To run it longer, to repeat what it chose, and
// to keep drawings:
//
//	HISTORY_TIME=10m HISTORY_SEED=1 HISTORY_DIR=/tmp go test -v -timeout 1h -run History ./store/historytest ./examples/master
//
// A seed fixes what clients and faults choose, not how the machine interleaves them.
package history
