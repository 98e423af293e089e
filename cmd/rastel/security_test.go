package main

import (
	"bytes"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"rastel/contrib/rig"
	"rastel/policy"
	"rastel/policy/engine"
	"rastel/scanners/clamd"
)

var update = flag.Bool("update", false, "write what is expected anew")

const (
	securityPage    = "../../contrib/doc/security.md"
	securityCommand = "RASTEL_E2E=1 go test ./cmd/rastel -run TestSecurityTable -update"
	tableBegin      = "<!-- The table is made by: " + securityCommand + " -->\n"
	tableEnd        = "<!-- end of the table -->\n"
)

// hidingCases are the names of cases about hiding: those of the attack catalogue, those about names,
// and those about what Go's own packages do not read.
var hidingCases = regexp.MustCompile(`^([a-z]\d\d|name|go)-`)

// A securityRow is a line of the table.
type securityRow struct {
	name, why string
	payload   bool // it hides the payload, so that a virus scanner has something to find

	plain, told string // what clamd says: nothing, or the name of a signature
	verdict     *policy.Verdict
}

// TestSecurityTableIsTrue compares the table of contrib/doc/security.md with what a real clamd and
// rastel say about each case.
func TestSecurityTableIsTrue(t *testing.T) {
	if os.Getenv("RASTEL_E2E") != "1" {
		t.Skip("needs clamd: run contrib/test, or set RASTEL_E2E=1")
	}
	page, err := os.ReadFile(securityPage)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(page), tableBegin)
	_, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table: a line %q and a line %q", securityPage, tableBegin, tableEnd)
	}
	want := before + tableBegin + securityTable(securityRows(t)) + tableEnd + after
	switch {
	case want == string(page):
	case *update:
		if err := os.WriteFile(securityPage, []byte(want), 0o644); err != nil { //nolint:gosec // a page of the documentation
			t.Fatal(err)
		}
	default:
		t.Errorf("%s is not what is true; run: %s\n%s", securityPage, securityCommand, differentLines(string(page), want))
	}
}

// differentLines are the lines that only one of two texts has, at most some.
func differentLines(old, want string) string {
	var b strings.Builder
	only := func(mark, a, other string) {
		n := 0
		for line := range strings.Lines(a) {
			if !strings.Contains(other, line) && n < 20 {
				b.WriteString(mark + line)
				n++
			}
		}
	}
	only("- ", old, want)
	only("+ ", want, old)
	return b.String()
}

func securityRows(t *testing.T) (rows []*securityRow) {
	t.Helper()
	signature := map[string]string{"Rastel.Payload": payloadText}
	plain := startClamd(t, rig.ClamdOptions{Texts: signature, Defaults: true})
	told := startClamd(t, rig.ClamdOptions{Texts: signature})
	e := engineAsking(t, told.Addr)
	files, err := filepath.Glob("../../testdata/cases/*.case")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !hidingCases.MatchString(filepath.Base(f)) {
			continue
		}
		c, err := readCase(f)
		if err != nil {
			t.Fatal(err)
		}
		if policyFileFor(c) != "" {
			continue // the table tells what the policy that is built in does
		}
		r := &securityRow{name: strings.TrimSuffix(caseName(c), ".case"), why: c.Why, payload: bytes.Contains(c.Raw, []byte(payloadText))}
		if r.plain, err = plain.Scan(c.Raw); err != nil {
			t.Fatalf("%s: %v", caseName(c), err)
		}
		if r.told, err = told.Scan(c.Raw); err != nil {
			t.Fatalf("%s: %v", caseName(c), err)
		}
		x, _ := deliver(t, e, c.Raw)
		r.verdict = x.Verdict
		for _, f := range x.Report.Findings {
			r.payload = r.payload || f.Check == "clamd/malware"
		}
		r.payload = r.payload || r.plain != "" || bytes.Contains(c.Raw, []byte("UkFTVEVMIEhBUk1MRVNT")) // in base64
		rows = append(rows, r)
	}
	return rows
}

func startClamd(t *testing.T, o rig.ClamdOptions) *rig.Clamd {
	t.Helper()
	c, err := rig.StartClamd(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// engineAsking is the engine with the default policy and a real clamd.
func engineAsking(t *testing.T, addr string) *engine.Engine {
	t.Helper()
	cfg, err := loadConfig("")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Clamd = &clamd.Config{Addresses: []string{addr}}
	b, err := build(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return b.engine(nil)
}

// securityTable writes the totals and the table.
func securityTable(rows []*securityRow) string {
	var b strings.Builder
	hiding, plain, told, stopped := 0, 0, 0, 0
	others, withheld, changed := 0, 0, 0
	for _, r := range rows {
		accepted := r.verdict.Action == policy.Accept
		switch {
		case r.payload:
			hiding++
			plain += one(r.plain != "")
			told += one(r.told != "")
			stopped += one(!accepted)
		default:
			others++
			withheld += one(!accepted)
			changed += one(accepted && !r.verdict.Patch.Empty())
		}
	}
	fmt.Fprintf(&b, "\n%d messages hide the payload. ClamAV alone stops %d of them, with its alerts switched on %d; rastel %d.\n", hiding, plain, told, stopped)
	fmt.Fprintf(&b, "In %d more there is nothing for a virus scanner to find: a name, a page, content that is elsewhere. Of these\n", others)
	fmt.Fprintf(&b, "rastel withholds %d, delivers %d changed and %d as they are, because the trick leads nowhere.\n\n", withheld, changed, others-withheld-changed)
	b.WriteString("| case | what it does | ClamAV | with alerts | rastel |\n|---|---|---|---|---|\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", r.name, strings.NewReplacer("|", `\|`, "<", `\<`).Replace(r.why), r.clamAV(r.plain), r.clamAV(r.told), r.rastel())
	}
	return b.String() + "\n"
}

func one(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (r *securityRow) clamAV(found string) string {
	switch {
	case strings.HasPrefix(found, "Heuristics."):
		return "alert"
	case found != "":
		return "found"
	case r.payload:
		return "**missed**"
	}
	return ""
}

func (r *securityRow) rastel() string {
	v := r.verdict
	switch {
	case v.Action != policy.Accept:
		return v.Action.String() + ": " + v.Rule
	case !v.Patch.Empty():
		return "delivered, changed"
	case r.payload:
		return "**delivered**"
	}
	return "delivered"
}
