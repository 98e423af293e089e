// Package scannertest is the suite that every Scanner must pass, whatever it looks for.
package scannertest

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

// contents are inputs that scanners stumble over: nothing, next to nothing, the beginning of
// every format and nothing behind it, and much of the same.
func contents() map[string][]byte {
	in := map[string][]byte{
		"empty": nil, "one byte": {0}, "text": []byte("hello\r\n"), "zeros": make([]byte, 100_000),
		"angle brackets": bytes.Repeat([]byte("<"), 100_000), "open tags": bytes.Repeat([]byte("<a><b>"), 20_000),
		"high bytes": bytes.Repeat([]byte{0xff}, 10_000),
	}
	for _, magic := range []string{"PK\x03\x04", "PK\x05\x06", "\x1f\x8b\x08", "BZh9", "\xfd7zXZ\x00", "7z\xbc\xaf\x27\x1c", "Rar!\x1a\x07\x01\x00",
		"\x28\xb5\x2f\xfd", "\x04\x22\x4d\x18", "LZIP\x01", "MZ", "\x7fELF", "%PDF-1.4", "{\\rtf1", "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "<html>", "<script>"} {
		in[fmt.Sprintf("nothing behind %q", magic)] = []byte(magic)
		in[fmt.Sprintf("zeros behind %q", magic)] = append([]byte(magic), make([]byte, 5000)...)
		in[fmt.Sprintf("high bytes behind %q", magic)] = append([]byte(magic), bytes.Repeat([]byte{0xff}, 5000)...)
	}
	return in
}

// Run holds a scanner to the contract of scanners.Scanner.
func Run(t *testing.T, s scanners.Scanner) {
	t.Run("checks are well formed", func(t *testing.T) { checks(t, s) })
	t.Run("reports only its own checks", func(t *testing.T) { reports(t, s) })
	t.Run("is safe for concurrent use", func(t *testing.T) { concurrent(t, s) })
	t.Run("opens what it says", func(t *testing.T) { opens(t, s) })
	t.Run("ends when its context does", func(t *testing.T) { cancelled(t, s) })
}

func checks(t *testing.T, s scanners.Scanner) {
	seen := map[string]bool{}
	for _, c := range s.Checks() {
		if area, what, ok := strings.Cut(c.ID, "/"); !ok || area == "" || what == "" || c.ID != strings.ToLower(c.ID) {
			t.Errorf("check %q is not of the form area/what", c.ID)
		}
		if !strings.HasSuffix(c.Doc, ".") {
			t.Errorf("check %s: %q is no sentence", c.ID, c.Doc)
		}
		if seen[c.ID] {
			t.Errorf("check %s is listed twice", c.ID)
		}
		seen[c.ID] = true
	}
}

// Part makes a part with that content, declared as an HTML file so that scanners of HTML look
// at it too.
func Part(t testing.TB, content []byte) *eml.Part {
	t.Helper()
	raw := "Content-Type: text/html; name=a.html\r\nContent-Transfer-Encoding: binary\r\n\r\n"
	s := eml.NewSpool(eml.SpoolOptions{})
	if _, err := s.Write(append([]byte(raw), content...)); err != nil {
		t.Fatal(err)
	}
	s.CloseWrite(nil)
	m, _, err := eml.Parse(context.Background(), &eml.Envelope{}, s, eml.Limits{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close(); s.Close() })
	return m.Root
}

// opens holds an Opener to its word: what it does not open, it has nothing to say about.
func opens(t *testing.T, s scanners.Scanner) {
	e, ok := s.(scanners.Opener)
	if !ok {
		return
	}
	for name, content := range contents() {
		p := Part(t, content)
		if e.Opens(p) {
			continue
		}
		members := 0
		findings, err := e.Expand(t.Context(), p, scanners.NewBudget(scanners.BudgetLimits{}, eml.SpoolOptions{}), func(m *eml.Part) error {
			members++
			m.Release()
			return nil
		})
		if members > 0 || len(findings) > 0 || err != nil {
			t.Errorf("%s: is not opened by its word, and Expand gives %d members, %v, %v", name, members, findings, err)
		}
	}
}

// examine scans and expands one part, and what comes out of it once.
func examine(ctx context.Context, s scanners.Scanner, p *eml.Part) ([]eml.Finding, error) {
	findings, err := s.Scan(ctx, p)
	if e, ok := s.(scanners.Expander); ok && err == nil {
		var more []eml.Finding
		more, err = e.Expand(ctx, p, scanners.NewBudget(scanners.BudgetLimits{}, eml.SpoolOptions{}), func(m *eml.Part) error {
			m.Release()
			return ctx.Err()
		})
		findings = append(findings, more...)
	}
	return findings, err
}

func reports(t *testing.T, s scanners.Scanner) {
	known := eml.Checks()
	known = append(known, s.Checks()...)
	for name, content := range contents() {
		findings, err := examine(t.Context(), s, Part(t, content))
		if err != nil {
			t.Logf("%s: %v", name, err) // a scanner may say that it could not tell
		}
		for _, f := range findings {
			if !slices.ContainsFunc(known, func(c eml.Check) bool { return c.ID == f.Check }) {
				t.Errorf("%s: reports %q, which is none of its checks", name, f.Check)
			}
			if f.Part == nil {
				t.Errorf("%s: %s has no part", name, f.Check)
			}
		}
	}
}

func concurrent(t *testing.T, s scanners.Scanner) {
	p := Part(t, []byte("<html><script>1</script>"))
	var wg sync.WaitGroup
	results := make([]string, 8)
	for i := range results {
		wg.Go(func() {
			findings, err := s.Scan(t.Context(), p)
			results[i] = fmt.Sprint(len(findings), err)
		})
	}
	wg.Wait()
	if len(slices.Compact(results)) != 1 {
		t.Errorf("one part scanned at the same time gave %q", results)
	}
}

func cancelled(t *testing.T, s scanners.Scanner) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p := Part(t, []byte("<html><script>1</script>"))
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = examine(ctx, s, p) // whatever it says, it must come back
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Error("Scan did not return 10 s after its context ended")
	}
}
