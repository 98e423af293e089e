//go:build race

package main

// slower is how much longer the race detector makes things take.
const slower = 15
