package engine_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"rastel/policy"
	"rastel/policy/engine"
	"rastel/policy/quarantine"
	"rastel/sanitize/eml"
	"rastel/scanners"
)

// closed is a scanner for which a part that says "closed" is encrypted.
type closed struct{ words }

func (closed) Scan(_ context.Context, p *eml.Part) ([]eml.Finding, error) {
	var b bytes.Buffer
	_, err := b.ReadFrom(p.Content())
	if strings.Contains(b.String(), "closed") {
		return []eml.Finding{{Check: "crypto/pgp-encrypted"}}, err
	}
	return nil, err
}

// newSampling is a world that keeps samples.
func newSampling(t *testing.T, cfg engine.SampleConfig) (*world, *engine.Sampler) {
	t.Helper()
	var s *engine.Sampler
	w := newWorld(t, quarantine.Config{}, func(o *engine.Options) {
		s = engine.NewSampler(cfg, o.Quarantine.(*quarantine.Store), o.Logger)
		o.Samples = s
		o.Set = scanners.NewSet(scanners.Options{}, scanners.Named{Name: "words", Scanner: words{}}, scanners.Named{Name: "closed", Scanner: closed{}})
	})
	return w, s
}

// count has the sampler count what there is.
func count(t *testing.T, s *engine.Sampler) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.CountNow(t.Context())
	s.Run(ctx)
}

func (w *world) samples(t *testing.T) []quarantine.Item {
	t.Helper()
	items, err := w.store.List(t.Context(), quarantine.Filter{Class: quarantine.SampleClass})
	if err != nil {
		t.Fatal(err)
	}
	return items
}

func TestSamplesAreCopiesOfWhatIsDelivered(t *testing.T) {
	w, s := newSampling(t, engine.SampleConfig{Percent: 100, Retention: time.Hour})
	w.judge(t, mail("early", "good"))
	if got := w.samples(t); len(got) != 0 {
		t.Errorf("kept before anything was counted: %+v", got)
	}
	count(t, s)
	raw := mail("a", "good")
	w.judge(t, raw)
	w.judge(t, raw) // a retry
	got := w.samples(t)
	if len(got) != 1 || got[0].Subject != "a" || !got[0].Held || got[0].Policy == "" || got[0].Expires.Sub(got[0].Created).Round(time.Minute) != time.Hour { // a retry prolongs it
		t.Fatalf("samples: %+v", got)
	}
	w.wantRaw(t, got[0].ID, raw)
	if list := w.held(t); len(list) != 0 {
		t.Errorf("listed among what is held: %+v", list)
	}
	all, err := w.store.List(t.Context(), quarantine.Filter{Class: quarantine.AnyClass})
	if err != nil || len(all) != 1 {
		t.Errorf("listed among all: %+v, %v", all, err)
	}
}

func TestWhatIsNoSample(t *testing.T) {
	w, s := newSampling(t, engine.SampleConfig{Percent: 100, MaxMessage: 1000})
	count(t, s)
	for _, raw := range []string{
		mail("quarantined", "bad"), mail("refused for now", "later"), mail("copy", "held already"),
		mail("encrypted", "closed"), mail("large", strings.Repeat("x", 1000)),
	} {
		w.judge(t, raw)
	}
	if got := w.samples(t); len(got) != 0 {
		t.Errorf("samples: %+v", got)
	}
	for _, never := range []string{"ann@example.org", "ANN@example.org", "@example.org", "@EXAMPLE.net", "bob@example.net"} {
		w, s := newSampling(t, engine.SampleConfig{Percent: 100, Never: []string{never}})
		count(t, s)
		w.judge(t, mail("a", "good"))
		if got := w.samples(t); len(got) != 0 {
			t.Errorf("never %s: %+v", never, got)
		}
	}
	w, s = newSampling(t, engine.SampleConfig{Percent: 100, Never: []string{"n@example.org", "@ample.org", "@n.example.org"}})
	count(t, s)
	w.judge(t, mail("a", "good"))
	if got := w.samples(t); len(got) != 1 {
		t.Errorf("never others: %+v", got)
	}
}

// TestCopyThatARuleKeepsIsNoSample: the retry of a message that was sampled may be held, by a policy that has
// changed in the meantime. It must not be taken for the sample, which nobody lists and which is soon gone.
func TestCopyThatARuleKeepsIsNoSample(t *testing.T) {
	w, s := newSampling(t, engine.SampleConfig{Percent: 100})
	count(t, s)
	raw := mail("a", "good")
	w.judge(t, raw)
	it := quarantine.NewItem(envelope())
	it.Held = true
	if err := w.store.Hold(t.Context(), it, strings.NewReader(raw)); err != nil || it.Class != "" {
		t.Fatalf("held as %+v, %v", it, err)
	}
	if list := w.held(t); len(list) != 1 {
		t.Errorf("held: %+v", list)
	}
}

// TestNoRuleHoldsAsASample: it would be held where nobody looks.
func TestNoRuleHoldsAsASample(t *testing.T) {
	rules := "rules: [{name: a, when: true, then: quarantine, class: " + quarantine.SampleClass + "}]"
	if _, err := policy.Load("p", []byte(rules), policy.Options{}); err == nil || !strings.Contains(err.Error(), "is for samples of delivered mail") {
		t.Errorf("got %v", err)
	}
}

func TestSamplesHaveRoom(t *testing.T) {
	size := int64(len(mail("0", "good")))
	w, s := newSampling(t, engine.SampleConfig{Percent: 100, MaxBytes: 3*size + 1})
	count(t, s)
	for i := range 5 {
		w.judge(t, mail(fmt.Sprint(i), "good"))
	}
	if got := w.samples(t); len(got) != 3 || strings.Count(w.log.String(), "no room for more samples") != 1 {
		t.Errorf("samples: %d\n%s", len(got), &w.log)
	}
	if _, err := w.store.Expire(t.Context(), time.Now().Add(8*24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	count(t, s)
	w.judge(t, mail("6", "good"))
	if n, err := w.store.Usage(t.Context(), quarantine.SampleClass); n != size || err != nil {
		t.Errorf("after the others have expired: %d bytes, %v", n, err)
	}
}

// TestSamplesAreAShare of all messages, and always the same ones.
func TestSamplesAreAShare(t *testing.T) {
	s := engine.NewSampler(engine.SampleConfig{Percent: 10}, nil, slog.New(slog.DiscardHandler))
	for _, header := range []string{"Message-ID: <%d@example.org>\n\nx", "Subject: x\n\n%d\n"} {
		var first []bool
		n := 0
		for i := range 4000 {
			m := parsed(t, fmt.Sprintf(header, i%2000))
			chosen := s.Chosen(m)
			switch {
			case i < 2000 && chosen:
				n++
				fallthrough
			case i < 2000:
				first = append(first, chosen)
			case chosen != first[i-2000]:
				t.Fatalf("%q: another choice the second time", fmt.Sprintf(header, i-2000))
			}
		}
		if n < 140 || n > 260 { // 200 and more than four standard deviations
			t.Errorf("%q: %d of 2000 are chosen", header, n)
		}
	}
}

func parsed(t *testing.T, raw string) *eml.Message {
	t.Helper()
	m, _, err := eml.Parse(t.Context(), envelope(), spool(t, raw), eml.Limits{}, func(*eml.Part) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

func TestWrongSampleConfigs(t *testing.T) {
	for _, c := range []engine.SampleConfig{
		{Percent: -1}, {Percent: 101}, {Retention: -1}, {MaxBytes: -1}, {MaxMessage: -1}, {Never: []string{"example.org"}}, {Never: make([]string, 10_001)},
	} {
		if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), "samples") {
			t.Errorf("%.200s: %v", fmt.Sprintf("%+v", c), err)
		}
	}
	if err := (engine.SampleConfig{Percent: 0.5, Never: []string{"@a", "b@c"}}).Validate(); err != nil {
		t.Error(err)
	}
	if engine.NewSampler(engine.SampleConfig{}, nil, nil) != nil {
		t.Error("a sampler of nothing")
	}
}
