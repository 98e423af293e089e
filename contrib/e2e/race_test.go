//go:build race

package e2e

// raceFlag builds the program with the race detector where the tests are.
var raceFlag = []string{"-race"}
