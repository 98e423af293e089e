//go:build !race

package worker

const race = false

// overflowed is what is known of an overflow of the stack.
const overflowed = "fatal error: stack overflow"
