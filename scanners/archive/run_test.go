package archive

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// corpus is where third-party test data lies, beside the module; it is no part of it.
const corpus = "../../../shared/corpus"

// A seenMember is a member that came out of a container.
type seenMember struct {
	id      string
	names   []string
	content []byte
	size    int64
	sha256  string
	typ     string
}

// A collector is a scanner that keeps all members it is given.
type collector struct {
	mu   sync.Mutex
	list []seenMember
}

func (*collector) Checks() []eml.Check { return nil }
func (c *collector) Scan(_ context.Context, p *eml.Part) ([]eml.Finding, error) {
	if !p.Member() {
		return nil, nil
	}
	content, err := io.ReadAll(io.LimitReader(p.Content(), 1<<16))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = append(c.list, seenMember{p.ID, p.Names, content, p.Size, hex.EncodeToString(p.SHA256[:]), p.Type})
	return nil, err
}

// A result is what became of one file.
type result struct {
	members []seenMember
	report  scanners.Report
}

// expand has the real run expand content, all layers of it.
func expand(t testing.TB, content []byte, lim scanners.BudgetLimits) result {
	t.Helper()
	return expandIn(t.Context(), t, New(Config{}), "attachment", content, lim)
}

// part is an attachment.
func part(t testing.TB, name string, content []byte) *eml.Part {
	t.Helper()
	s := eml.NewSpool(eml.SpoolOptions{})
	header := "Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\nContent-Disposition: attachment; filename=\"" + name + "\"\r\n\r\n"
	s.Write(append([]byte(header), content...))
	s.CloseWrite(nil)
	m, _, err := eml.Parse(context.Background(), &eml.Envelope{}, s, eml.Limits{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close(); s.Close() })
	return m.Root
}

func expandIn(ctx context.Context, t testing.TB, e *Expander, name string, content []byte, lim scanners.BudgetLimits) result {
	t.Helper()
	c := &collector{}
	set := scanners.NewSet(scanners.Options{Budget: lim},
		scanners.Named{Name: "collect", Scanner: c}, scanners.Named{Name: "archive", Scanner: e})
	run := set.Start(ctx)
	run.Add(part(t, name, content))
	r := result{report: run.Wait()}
	slices.SortStableFunc(c.list, func(a, b seenMember) int { return strings.Compare(a.id, b.id) })
	r.members = c.list
	return r
}

// checks are the IDs of all findings, each once.
func (r result) checks() []string {
	var out []string
	for _, f := range r.report.Findings {
		out = append(out, f.Check)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// has reports whether a member has that name and content.
func (r result) has(name, content string) bool {
	return slices.ContainsFunc(r.members, func(m seenMember) bool {
		return slices.Contains(m.names, name) && string(m.content) == content
	})
}

// String is for failures.
func (r result) String() string {
	var b strings.Builder
	for i, m := range r.members {
		if i == 20 {
			fmt.Fprintf(&b, "\n  and %d more", len(r.members)-i)
			break
		}
		fmt.Fprintf(&b, "\n  %s %q %s, %d bytes: %.40q", m.id, m.names, m.typ, m.size, m.content)
	}
	for i, f := range r.report.Findings {
		if i == 20 {
			break
		}
		fmt.Fprintf(&b, "\n  %s %s: %s", f.Part.ID, f.Check, f.Detail)
	}
	return b.String()
}

// wantMember fails unless a member has that name and content.
func (r result) wantMember(t *testing.T, name, content string) {
	t.Helper()
	if !r.has(name, content) {
		t.Errorf("no member %q with content %q in%s", name, content, r)
	}
}

// wantChecks fails unless exactly these checks were reported.
func (r result) wantChecks(t *testing.T, want ...string) {
	t.Helper()
	slices.Sort(want)
	if got := r.checks(); !slices.Equal(got, want) {
		t.Errorf("got checks %q, want %q in%s", got, want, r)
	}
}

// fixture reads a file of testdata/archives.
func fixture(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "archives", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
