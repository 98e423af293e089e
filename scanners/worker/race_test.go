//go:build race

package worker

// overflowed is what is known of an overflow of the stack: the race detector ends first.
const overflowed = "worker ended: exit status"
