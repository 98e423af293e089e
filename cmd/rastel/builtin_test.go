package main

import (
	"testing"

	"rastel/scanners"
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

// inProcess are the expanders that are not to run in a worker, each with the reason.
var inProcess = map[string]string{
	"mail":      "yields entities, and is the parser that reads every message",
	"crypto":    "asks what is around a part, and reads a stream without looking back",
	"smuggling": "looks at pages, which are most of all mail, and reads a stream",
	"uuencode":  "looks at the lines of every text",
	"yenc":      "looks at the lines of every text",
	"binhex":    "looks at the lines of every text",
	"apple":     "reads fixed tables",
	"inline":    "looks at the lines of calendars and cards",
	"script":    "reads the fixed tables of a shortcut, as its Scan does",
}

func TestExpandersRunInWorkersUnlessThereIsAReason(t *testing.T) {
	cfg, err := loadConfig("")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range builtin(cfg) {
		_, expands := n.Scanner.(scanners.Expander)
		_, opens := n.Scanner.(scanners.Opener)
		if reason := inProcess[n.Name]; expands && opens == (reason != "") {
			t.Errorf("%s: Opener: %v, reason not to be one: %q; want one of both", n.Name, opens, reason)
		}
	}
}
