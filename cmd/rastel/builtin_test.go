package main

import (
	"testing"

	"rastel/scanners/scannertest"
)

// TestScannersKeepTheirContract runs the suite of scanners on all that are built in. That of
// clamd needs a clamd, and is in its package.
func TestScannersKeepTheirContract(t *testing.T) {
	cfg, err := loadConfig("")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range builtin(cfg) {
		t.Run(n.Name, func(t *testing.T) { scannertest.Run(t, n.Scanner) })
	}
}
