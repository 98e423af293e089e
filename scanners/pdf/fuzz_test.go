package pdf

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"rastel/sanitize/eml"
	"rastel/scanners"
	"rastel/scanners/scannertest"
)

// FuzzExpand holds every input to the contract of Expand: no panic, no more than the budget, an end soon
// after that of the context, names within their limits, known checks, and no error but of budget and
// context.
func FuzzExpand(f *testing.F) {
	for _, kind := range testLocks {
		f.Add(attached(newLock(f, kind, "", "owner")).Bytes())
		f.Add(attached(newLock(f, kind, "user", "owner")).Bytes())
	}
	f.Add(attached(nil).Bytes())
	for _, h := range hostile {
		f.Add([]byte(h(5)))
	}
	for filter, data := range map[string]string{
		"/Filter/LZW": lzwEarly(payload), "/Filter[/AHx/RL]": hexed(runs(payload)), "/Filter/A85": ascii85ed(payload),
		"/Filter/Fl/DecodeParms<</Predictor 15/Columns 5>>": deflated(pngRows(payload, 5, 4)), "/Filter/Fl/DecodeParms<</Predictor 2/Columns 5/BitsPerComponent 4>>": deflated(payload),
	} {
		b := newBuilder()
		b.stream(5, "/Type/EmbeddedFile"+filter, data)
		f.Add(b.end("").Bytes())
	}
	b := newBuilder()
	dict, data := objStm(map[int]string{4: "<</EF<</F 5 0 R>>/F(a.txt)>>", 7: "<</S/JavaScript/JS(in.it)>>"})
	b.stream(6, dict+"/Filter/FlateDecode", deflated(data))
	b.stream(8, "/Type/XRef/W[1 2 1]/Index[5 1]/Size 9", "\x01\x00\x10\x00")
	b.stream(5, "", "x")
	f.Add(b.end("/XRefStm 20").Bytes())
	files, _ := filepath.Glob("testdata/*.pdf")
	for _, name := range files {
		content, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content)
	}
	known := Documents{}.Checks()
	lim := scanners.BudgetLimits{Bytes: 1 << 20, Members: 100, Depth: 2}
	f.Fuzz(func(t *testing.T, content []byte) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		budget := scanners.NewBudget(lim, eml.SpoolOptions{})
		budget.SetWords(func(context.Context) scanners.Words { return scanners.Words{Message: []string{"user"}} })
		start, members, size := time.Now(), 0, int64(0)
		findings, err := Documents{}.Expand(ctx, scannertest.Part(t, append([]byte("%PDF-1.4\n"), content...)), budget, func(m *eml.Part) error {
			defer m.Release()
			members++
			size += m.Size
			if len(m.Names) > maxNames || slices.ContainsFunc(m.Names, func(n string) bool { return len(n) > maxName }) {
				t.Errorf("member %s has names %q", m.ID, m.Names)
			}
			return nil
		})
		if took := time.Since(start); members > lim.Members || size > lim.Bytes || took > hang {
			t.Errorf("%d members, %d bytes, %v; limits %+v", members, size, took, lim)
		}
		if err != nil && !errors.Is(err, scanners.ErrBudget) && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want an error of budget or context", err)
		}
		for _, found := range findings {
			if found.Part == nil || !slices.ContainsFunc(known, func(c eml.Check) bool { return c.ID == found.Check }) {
				t.Errorf("finding %+v", found)
			}
		}
	})
}

// FuzzFind holds find to what bytes.Index says, wherever the edges of what is read at a time are.
func FuzzFind(f *testing.F) {
	f.Add([]byte("endstreaendstream"), uint16(3))
	f.Fuzz(func(t *testing.T, content []byte, at uint16) {
		pad := bytes.Repeat([]byte("endstrea"), int(at)/8)
		content = append(pad, content...)
		c := newCursor(bytes.NewReader(content), int64(len(content)))
		from := 0
		for range 10 {
			got, want := c.find("endstream"), int64(bytes.Index(content[from:], []byte("endstream")))
			if want >= 0 {
				want += int64(from)
			}
			if got != want {
				t.Fatalf("from %d: got %d, want %d", from, got, want)
			}
			if want < 0 {
				break
			}
			from = int(want) + len("endstream")
		}
	})
}
