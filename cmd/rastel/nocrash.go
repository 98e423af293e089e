//go:build !crashpoints

package main

import "rastel/policy/engine"

// crashing gives the quarantine as it is; in a program for end-to-end tests (see crash.go) it is another.
func crashing(q engine.Quarantine) engine.Quarantine { return q }
