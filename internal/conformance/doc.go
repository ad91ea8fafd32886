// Package conformance is the test suite of what clients rely on: it starts a whole
// cluster in this process, puts TLS in front of it, and drives it as client-go,
// controller-runtime and kubectl do. It holds nothing but tests. What one component
// must do by itself is tested beside that component; here a rule stands for every
// kind at once.
package conformance
