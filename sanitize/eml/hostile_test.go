package eml

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"

	"rastel/sanitize/eml/emltest"
)

// BenchmarkGrowth prints how the time of parsing, and of writing anew, grows with the size of
// hostile messages: twice the size must cost about twice the time. The whole message is written anew,
// whatever was found, and so is each entity that something was found in.
func BenchmarkGrowth(b *testing.B) {
	emltest.Growth(b, func(raw []byte) string {
		s := NewSpool(SpoolOptions{})
		defer s.Close()
		s.Write(raw)
		s.CloseWrite(nil)
		m, findings, err := Parse(context.Background(), &Envelope{}, s, Limits{}, nil)
		if err != nil {
			b.Fatal(err)
		}
		defer m.Close()
		if err := m.Skeleton(io.Discard); err != nil {
			b.Fatal(err)
		}
		var parts []*Part
		var limits []string
		for _, f := range findings {
			if f.Unexamined && !slices.Contains(limits, f.Check) {
				limits = append(limits, f.Check)
			}
			if !f.Part.member && f.Part != m.Root {
				parts = append(parts, f.Part)
			}
		}
		for _, anew := range [][]*Part{parts, {m.Root}} {
			p, err := NewPatch(m, nil, anew...)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := p.WriteTo(io.Discard); err != nil {
				b.Fatal(err)
			}
		}
		return strings.Join(limits, " ")
	})
}

// TestHostileMessagesAreRead: whatever is odd, the parts lie within the message and each other.
func TestHostileMessagesAreRead(t *testing.T) {
	for _, h := range emltest.Messages() {
		t.Run(h.Name, func(t *testing.T) {
			raw := []byte(h.Make(30_000))
			m, _ := parseBytes(t, raw, Limits{})
			checkExtents(t, m.Root, 0, m.Size)
			if got := patched(t, m); !bytes.Equal([]byte(got), raw) {
				t.Error("an empty patch changed it")
			}
		})
	}
}

// TestPartsSayWhatTheirHeaderSays: an entity that is written anew without edits is what the parser
// made of its header; to read the header again would make the same of it.
func TestPartsSayWhatTheirHeaderSays(t *testing.T) {
	for _, h := range emltest.Messages() {
		m, _ := parseBytes(t, []byte(h.Make(30_000)), Limits{})
		m.Root.Walk(func(p *Part) bool {
			if p.ReadFrom() != nil || p.member {
				return true
			}
			q := &Part{ID: p.ID, Parent: p.Parent, Header: *headerOf(p.Header.raw)}
			(&parser{lim: Limits{}.withDefaults(), others: &others{over: true}, msg: &Message{Root: q}}).classify(q)
			got := fmt.Sprintf("%q %q %q %v %.3000q %v", q.MediaType, q.Params, q.Disposition, q.Encoding, q.Names, q.Header.Fields)
			want := fmt.Sprintf("%q %q %q %v %.3000q %v", p.MediaType, p.Params, p.Disposition, p.Encoding, p.Names, p.Header.Fields)
			if got != want {
				t.Errorf("%s: part %s\n got %.2000s\nwant %.2000s", h.Name, p.ID, got, want)
			}
			return true
		})
	}
}

// TestHeadersAreWrittenWithLittleMemory: what is copied again and again in a header costs memory that
// grows with the square of its size, up to the limit of a header.
func TestHeadersAreWrittenWithLittleMemory(t *testing.T) {
	for _, h := range emltest.Messages() {
		if !slices.Contains([]string{"longheader", "comments", "phrase", "group", "folds-blank-to", "folds-to-to", "fragments-marks", "bareCR"}, h.Name) {
			continue
		}
		raw := []byte(h.Make(200_000))
		m, _ := parseBytes(t, raw, Limits{})
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		writeAnew(t, m, m.Root)
		parseField(string(raw), 100)
		runtime.ReadMemStats(&after)
		if n := int64(after.TotalAlloc - before.TotalAlloc); n > 100*m.Size {
			t.Errorf("%s: %d bytes of memory for a message of %d", h.Name, n, m.Size)
		}
	}
}
