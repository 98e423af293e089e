package scanners

import (
	"context"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rastel/sanitize/eml"
)

// expandFunc is an expander that is one function.
type expandFunc func(ctx context.Context, p *eml.Part, b *Budget, yield func(*eml.Part) error) ([]eml.Finding, error)

func (expandFunc) Checks() []eml.Check                                    { return nil }
func (expandFunc) Scan(context.Context, *eml.Part) ([]eml.Finding, error) { return nil, nil }
func (f expandFunc) Expand(ctx context.Context, p *eml.Part, b *Budget, yield func(*eml.Part) error) ([]eml.Finding, error) {
	return f(ctx, p, b, yield)
}

// slow yields one member of an entity and then takes until its context ends.
var slow = expandFunc(func(ctx context.Context, p *eml.Part, b *Budget, yield func(*eml.Part) error) ([]eml.Finding, error) {
	if p.Member() {
		return nil, nil
	}
	m, err := b.Member(ctx, p, 1, nil, strings.NewReader("abc"))
	if err == nil {
		err = yield(m)
	}
	if err != nil {
		return nil, err
	}
	<-ctx.Done()
	return nil, ctx.Err()
})

const twoParts = "Content-Type: multipart/mixed; boundary=b\n\n--b\n\na\n--b\n\nb\n--b--\n"

func TestTimeIsPartOfTheBudget(t *testing.T) {
	const one, none = "1 members of 3 bytes were examined, what else is in it was not", "0 members of 0 bytes were examined, what else is in it was not"
	for _, tt := range []struct {
		name string
		lim  BudgetLimits
		want []string
		took time.Duration
	}{
		{"container", BudgetLimits{ContainerTime: 7 * time.Second}, []string{
			"scan/limit 1.1 slow: expansion limit reached: more than 7s for one container; " + one,
			"scan/limit 1.2 slow: expansion limit reached: more than 7s for one container; " + one,
		}, 14 * time.Second},
		{"message", BudgetLimits{ContainerTime: 7 * time.Second, Time: 5 * time.Second}, []string{
			"scan/limit 1.1 slow: expansion limit reached: more than 5s for all containers; " + one,
			"scan/limit 1.2 slow: expansion limit reached: more than 5s for all containers; " + none,
		}, 5 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				set := NewSet(Options{Budget: tt.lim, Workers: 1}, Named{Name: "slow", Scanner: slow}, Named{Name: "again", Scanner: slow})
				_, r := examine(t, set, twoParts)
				got := strings.Split(summary(r), "; scan/")
				for _, want := range tt.want {
					if !strings.Contains(summary(r), want) {
						t.Errorf("got %q, want %q", got, want)
					}
				}
				if d := time.Since(start); d != tt.took {
					t.Errorf("took %v, want %v", d, tt.took)
				}
				for _, u := range r.Unexamined {
					if u.Temporary {
						t.Errorf("%s is temporary: trying again takes as long", u.Why)
					}
				}
			})
		})
	}
}

// The time in which the rest of the message is awaited is the sender's.
func TestWaitingForWordsTakesNoTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		ask := expandFunc(func(ctx context.Context, p *eml.Part, b *Budget, _ func(*eml.Part) error) ([]eml.Finding, error) {
			if p.ID == "1.1" {
				got = b.Words(ctx).Message
			}
			return nil, ctx.Err()
		})
		raw := strings.ReplaceAll("Subject: the (password) is =?utf-8?q?gr=C3=BCn?=\n"+twoParts, "\n", "\r\n")
		s := eml.NewSpool(eml.SpoolOptions{})
		defer s.Close()
		set := NewSet(Options{Budget: BudgetLimits{ContainerTime: time.Second}}, Named{Name: "ask", Scanner: ask})
		run := set.Start(t.Context())
		io.WriteString(s, raw[:len(raw)-10])
		time.AfterFunc(time.Hour, func() {
			io.WriteString(s, raw[len(raw)-10:])
			s.CloseWrite(nil)
		})
		m, _, err := eml.Parse(t.Context(), &eml.Envelope{}, s, eml.Limits{}, run.Add)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		run.Message(m)
		if r := run.Wait(); len(r.Findings) > 0 {
			t.Errorf("found %s", summary(r))
		}
		for _, want := range []string{"the", "password", "grün", "a", "b"} {
			if !slices.Contains(got, want) {
				t.Errorf("words are %q, want %q", got, want)
			}
		}
	})
}

func TestWordsEndWithTheRun(t *testing.T) {
	ask := expandFunc(func(ctx context.Context, _ *eml.Part, b *Budget, _ func(*eml.Part) error) ([]eml.Finding, error) {
		return nil, ctx.Err()
	})
	run := NewSet(Options{}, Named{Name: "ask", Scanner: ask}).Start(t.Context())
	run.Wait() // the parse failed: there is no message
	if w := run.budget.Words(t.Context()).Message; w != nil {
		t.Errorf("words are %q, want none", w)
	}
	if w := NewBudget(BudgetLimits{}, eml.SpoolOptions{}).Words(t.Context()).Message; w != nil {
		t.Errorf("words without a message are %q", w)
	}
}

func TestCandidatesAreBounded(t *testing.T) {
	var b strings.Builder
	for i := range 100_000 {
		b.WriteString(" w" + strings.Repeat("x", i%100) + string(rune('a'+i%26)) + strings.Repeat("y", i%7))
	}
	m, _ := examine(t, NewSet(Options{}), "Subject: one\n\n"+b.String())
	got := Candidates(m)
	if len(got) > maxCandidates || len(got) < 100 {
		t.Errorf("%d words", len(got))
	}
	for _, w := range got {
		if len(w) > maxCandidate {
			t.Errorf("a word of %d bytes", len(w))
		}
	}
}

// A gzip that holds itself is opened once.
func TestQuineIsALimit(t *testing.T) {
	opened := 0
	quine := expandFunc(func(ctx context.Context, p *eml.Part, b *Budget, yield func(*eml.Part) error) ([]eml.Finding, error) {
		opened++
		if p.Type != "gzip" {
			return nil, nil
		}
		m, err := b.Member(ctx, p, 1, nil, p.Content())
		if err != nil {
			return nil, err
		}
		return nil, yield(m)
	})
	set := NewSet(Options{}, Named{Name: "quine", Scanner: quine}, Named{Name: "seen", Scanner: seen})
	_, r := examine(t, set, "Content-Type: application/gzip\n\n\x1f\x8b\x08\x00")
	got := summary(r)
	if !strings.Contains(got, "scan/limit 1/1 containers: expansion limit reached: the same again as 1, which it is in") || opened != 1 || len(r.Unexamined) != 1 {
		t.Errorf("opened %d times, got %q, unexamined %v", opened, got, r.Unexamined)
	}
	if !strings.Contains(got, "test/x 1/1 ") {
		t.Errorf("got %q: it was not scanned", got)
	}
}
