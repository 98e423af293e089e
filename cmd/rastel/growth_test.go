package main

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"rastel/policy/engine"
	"rastel/sanitize/eml"
	"rastel/sanitize/eml/emltest"
)

// BenchmarkGrowth prints how the time that the whole program takes grows with the size of hostile
// messages: the parser, the scanners, the policy, the log, and the output of scan.
func BenchmarkGrowth(b *testing.B) {
	built, err := build(&Config{}, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	e := engine.New(engine.Options{
		Set: built.set, Policy: built.policy.Load, Limits: built.cfg.mimeLimits(),
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	emltest.Growth(b, func(raw []byte) string { return scanned(b, e, raw) })
}

// scanned examines a message as serve and scan do, and writes it as it would be delivered. It returns
// the verdict, what was written, and which limits were reached.
func scanned(b *testing.B, e *engine.Engine, raw []byte) string {
	s := eml.NewSpool(eml.SpoolOptions{})
	defer s.Close()
	s.Write(raw)
	s.CloseWrite(nil)
	x, err := e.Examine(context.Background(), &eml.Envelope{Recipients: []string{"a@example.org"}}, s)
	if err != nil {
		b.Fatal(err)
	}
	defer x.Message.Close()
	res := resultOf("message", x, time.Second)
	if err := json.NewEncoder(io.Discard).Encode(res); err != nil {
		b.Fatal(err)
	}
	res.print(io.Discard)
	done := []string{x.Verdict.Action.String()}
	if !x.Verdict.Patch.Empty() {
		if _, err := x.Verdict.Patch.WriteTo(io.Discard); err != nil {
			b.Fatal(err)
		}
		done = append(done, "patched")
	}
	for _, f := range x.Report.Findings {
		if f.Unexamined && !slices.Contains(done, f.Check) {
			done = append(done, f.Check)
		}
	}
	return strings.Join(done, " ")
}

// TestMailsWithinAreNotReadForEver: messages in messages, each of which clients read in many ways,
// do not multiply. What is examined is bounded by the size of the message, and what is not
// examined is told.
func TestMailsWithinAreNotReadForEver(t *testing.T) {
	e := defaultEngine(t)
	for _, h := range emltest.Messages() {
		if !slices.Contains([]string{"bodyfieldslong", "mailfiles", "mailfilesodd", "nestedmail", "readings-all", "readings-mails", "bareCR"}, h.Name) {
			continue
		}
		raw := []byte(h.Make(100_000))
		x, _ := deliver(t, e, raw)
		total, limited := int64(0), false
		x.Message.Root.Walk(func(p *eml.Part) bool {
			total += p.Size
			return true
		})
		for _, u := range x.Report.Unexamined {
			limited = limited || strings.Contains(u.Why, "limit")
		}
		if most := int64(5 << 20); total > most {
			t.Errorf("%s: %d bytes examined of a message of %d, want at most %d", h.Name, total, len(raw), most)
		}
		if h.Name == "bodyfieldslong" && !limited {
			t.Errorf("%s: nothing tells that not all was examined", h.Name)
		}
	}
}
