// Command faults has clamd fail in all ways that it can, under load, and tells what became of the mail
// meanwhile. contrib/faults builds what it needs, and says what is measured.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// What a fault may cost.
const (
	maxTime     = 60 * time.Second // the deadline of a scan
	maxRecovery = 5 * time.Second
)

// A plan is how the faults are measured.
type plan struct {
	rate                int // messages a second
	before, held, after time.Duration
	untimed             bool     // times are shown and not judged
	signatures          int      // that each clamd has to load
	conf                []string // more lines of clamd.conf
	only                []string // names of faults; none means all
}

func main() {
	rastel := flag.String("rastel", "", "the rastel `program`")
	short := flag.Bool("short", false, "only what matters most, and not for long")
	rate := flag.Int("rate", 20, "messages a second")
	untimed := flag.Bool("untimed", false, "do not judge times: of tests on a busy machine")
	only := flag.String("only", "", "`names` of faults, with commas between them")
	flag.Parse()
	p := plan{rate: *rate, untimed: *untimed, before: 2 * time.Second, held: 10 * time.Second, after: 6 * time.Second, signatures: 150_000}
	if *short {
		p.before, p.held, p.after = time.Second, 5*time.Second, 2*time.Second
		p.signatures = 50_000
		p.conf = []string{"IdleTimeout 1"} // a reload waits for threads that have nothing to do, 30 s by default
		p.only = []string{"killed", "hung", "slow", "reloading", "garbage"}
	}
	if *only != "" {
		p.only = strings.Split(*only, ",")
	}
	bad, err := run(*rastel, p)
	if err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		os.Exit(2)
	}
	if bad {
		os.Exit(1)
	}
}

func run(rastel string, p plan) (bad bool, err error) {
	w, err := startWorld(rastel, p.signatures, p.conf...)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, w.stop()) }()
	fmt.Printf(heading, "clamd", "sent", "delivered", "held", "refused", "lost", "unscanned", "twice", "left", "p50", "p99", "recovery")
	for _, f := range faults() {
		if len(p.only) > 0 && !slices.Contains(p.only, f.name) {
			continue
		}
		r, err := w.measure(f, p)
		if err != nil {
			return bad, fmt.Errorf("%s: %w\n%s", f.name, err, w.logTail())
		}
		mark := ""
		if r.bad(f) || !p.untimed && r.late() {
			bad, mark = true, "BAD"
		}
		fmt.Printf(row, f.title(), r.sent, r.delivered, r.held, r.refused, r.lost, r.unscanned, r.twice, r.left,
			r.percentile(50).Seconds(), r.percentile(99).Seconds(), r.recovery.Seconds(), mark)
	}
	fmt.Printf(heading, "may be at most", "", "", "", "0*", "0", "0", "0", "", "", fmt.Sprintf("%.0f s", maxTime.Seconds()), fmt.Sprintf("%.0f s", maxRecovery.Seconds()))
	fmt.Println("refused: for now, and taken later (* where one clamd is left). left: how often a clamd was left for another")
	return bad, nil
}

// The table.
const (
	heading = "%-50s %5s %9s %5s %7s %4s %9s %5s %5s %8s %8s %8s\n"
	row     = "%-50s %5d %9d %5d %7d %4d %9d %5d %5d %6.2f s %6.2f s %6.1f s %s\n"
)

// A result is what became of the messages that were sent during a fault.
type result struct {
	sent, delivered, held, refused, lost, unscanned, twice int

	left     int             // how often a clamd was left for another, or taken for hung or down
	took     []time.Duration // of each time that one was sent, sorted
	recovery time.Duration
}

// bad reports whether something is not as it must be. A fault that nobody noticed was none, unless it may
// be that small.
func (r *result) bad(f fault) bool {
	return r.sent == 0 || !f.unseen && r.left == 0 || r.lost > 0 || r.unscanned > 0 || r.twice > 0 || !f.both && r.refused > 0
}

// late reports whether it took longer than it may.
func (r *result) late() bool { return r.percentile(99) > maxTime || r.recovery > maxRecovery }

func (r *result) percentile(n int) time.Duration {
	if len(r.took) == 0 {
		return 0
	}
	return r.took[min(len(r.took)*n/100, len(r.took)-1)]
}
