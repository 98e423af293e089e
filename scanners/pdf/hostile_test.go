package pdf

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rastel/sanitize/eml"
	"rastel/scanners"
	"rastel/scanners/scannertest"
)

// hang is how long a test may take that is to end at once, on the busiest machine.
const hang = time.Minute

// repeated is a document of n times what f gives for a number from 10 on.
func repeated(n int, f func(i int) string) string {
	var b strings.Builder
	b.WriteString("%PDF-1.4\n")
	for i := range n {
		b.WriteString(f(i + 10))
	}
	return b.String()
}

// hostile are documents of about n things that cost much to some readers.
var hostile = map[string]func(n int) string{
	"objects": func(n int) string {
		return repeated(n, func(i int) string { return fmt.Sprintf("%d 0 obj 1 endobj\n", i) })
	},
	"no ends": func(n int) string {
		return repeated(n, func(i int) string { return fmt.Sprintf("%d 0 obj<</A 1>>\n", i) })
	},
	"one number": func(n int) string {
		return repeated(n, func(int) string { return "5 0 obj<</EF<</F 5 0 R>>/F 5 0 R>>endobj\n" })
	},
	"versions": func(n int) string {
		return repeated(n, func(int) string { return "5 0 obj<</Length 5 0 R/Filter 5 0 R>>stream\nx\nendstream endobj\n" })
	},
	"strings":      func(n int) string { return repeated(n, func(i int) string { return fmt.Sprintf("%d 0 obj (\n", i) }) },
	"hex strings":  func(n int) string { return repeated(n, func(i int) string { return fmt.Sprintf("%d 0 obj <\n", i) }) },
	"parentheses":  func(n int) string { return "%PDF-1.4\n1 0 obj " + strings.Repeat("(", n) },
	"arrays":       func(n int) string { return "%PDF-1.4\n1 0 obj " + strings.Repeat("[", n) },
	"dictionaries": func(n int) string { return "%PDF-1.4\n1 0 obj " + strings.Repeat("<</A", n) },
	"deep scripts": func(n int) string {
		return "%PDF-1.4\n1 0 obj " + strings.Repeat("<</JS(x)/A", n) + strings.Repeat(">>", n)
	},
	"streams": func(n int) string {
		return repeated(n, func(i int) string { return fmt.Sprintf("%d 0 obj<</Length 1>>stream\nx\nendstream\n", i) })
	},
	"open streams": func(n int) string {
		return repeated(n, func(i int) string { return fmt.Sprintf("%d 0 obj<</Length 9>>stream\n", i) })
	},
	"long streams": func(n int) string {
		return repeated(n, func(i int) string { return fmt.Sprintf("%d 0 obj<</Length 99999999>>stream\nx\nendstream\n", i) })
	},
	"lengths": func(n int) string {
		return repeated(n, func(i int) string { return fmt.Sprintf("%d 0 obj<</Length %d 0 R>>stream\nx\nendstream\n", i, i+1) })
	},
	"near ends": func(n int) string { return "%PDF-1.4\n1 0 obj<<>>stream\n" + strings.Repeat("endstrea", n) },
	"filters": func(n int) string {
		return repeated(n, func(i int) string { return fmt.Sprintf("%d 0 obj<</Filter %d 0 R>>stream\nx\nendstream\n", i, i+1) })
	},
	"wide filters": func(n int) string {
		return "%PDF-1.4\n1 0 obj<</Filter[" + strings.Repeat("/Fl", n) + "]>>stream\nx\nendstream"
	},
	"references": func(n int) string {
		return repeated(n, func(i int) string {
			return fmt.Sprintf("%d 0 obj %d 0 R endobj 9 0 obj<</JS %d 0 R>>endobj\n", i, i+1, i)
		})
	},
	"file references": func(n int) string { return "%PDF-1.4\n1 0 obj<</EF<<" + strings.Repeat("/F 5 0 R", n) + ">>>>" },
	"name trees": func(n int) string {
		return "%PDF-1.4\n5 0 obj<</EF<<>>>> 1 0 obj<</Names[" + strings.Repeat("(a)5 0 R", n) + "]>>"
	},
	"one name tree": func(n int) string {
		return repeated(n, func(i int) string { return fmt.Sprintf("%d 0 obj<</Names 9 0 R>>endobj\n", i) }) + "9 0 obj[" + strings.Repeat("(a)9 0 R", n) + "]endobj"
	},
	"scripts": func(n int) string {
		return repeated(n, func(i int) string { return fmt.Sprintf("%d 0 obj<</JS(a%d)>>endobj\n", i, i) })
	},
	"trailers": func(n int) string {
		return repeated(n, func(int) string { return "trailer<</Prev 9/Encrypt 1 0 R>>\n" })
	},
	"tables": func(n int) string {
		return repeated(n, func(i int) string { return fmt.Sprintf("xref\n0 1\n%010d 00000 n \nstartxref\n%d\n", i*20, i*20) })
	},
	"a table": func(n int) string {
		return "%PDF-1.4\nxref\n0 2147483647\n" + strings.Repeat("0000000003 00000 n \n", n)
	},
	"sections": func(n int) string { return "%PDF-1.4\nxref\n" + strings.Repeat("0 1\n", n) },
	"table into one": func(n int) string { // each entry leads to an object in a string, up to its end
		var b, t strings.Builder
		b.WriteString("%PDF-1.4\n1 0 obj(\n")
		for i := range n {
			fmt.Fprintf(&t, "%010d 00000 n \n", b.Len())
			fmt.Fprintf(&b, "%d 0 obj(\n", i+2)
		}
		return b.String() + "endobj\nxref\n0 99999\n" + t.String() + "trailer<<>>"
	},
	"object stream": func(n int) string {
		return "%PDF-1.4\n1 0 obj<</N 9999999/First " + fmt.Sprint(4*n) + ">>stream\n" + strings.Repeat("2 0 ", n) + "(" + strings.Repeat("x", n) + "\nendstream"
	},
	"object stream in steps": func(n int) string {
		var t strings.Builder
		for i := range n {
			fmt.Fprintf(&t, "%d %d ", i+5, i)
		}
		return fmt.Sprintf("%%PDF-1.4\n1 0 obj<</N 9999999/First %d>>stream\n%s%s\nendstream", t.Len(), t.String(), strings.Repeat("[", n))
	},
	"object streams": func(n int) string {
		return repeated(n, func(i int) string {
			return fmt.Sprintf("%d 0 obj<</N 1/First 4/Extends %d 0 R>>stream\n5 0 <</N 1/First 4>>\nendstream\n", i, i)
		})
	},
	"escapes":  func(n int) string { return "%PDF-1.4\n1 0 obj/" + strings.Repeat("#4", n) },
	"name":     func(n int) string { return "%PDF-1.4\n1 0 obj/" + strings.Repeat("A", n) },
	"comments": func(n int) string { return "%PDF-1.4\n1 0 obj[" + strings.Repeat("%\n", n) },
	"numbers":  func(n int) string { return "%PDF-1.4\n1 0 obj[" + strings.Repeat("1 ", n) },
	"brackets": func(n int) string { return "%PDF-1.4\n1 0 obj" + strings.Repeat("<<[", n) + strings.Repeat(">>", n) },
	"words":    func(n int) string { return "%PDF-1.4\n" + strings.Repeat("obj ", n) },
	"digits":   func(n int) string { return "%PDF-1.4\n" + strings.Repeat("9", n) + " 0 obj" },
	"events": func(n int) string {
		return strings.Repeat("9 0 obj<</OpenAction 9 0 R/AA<</O 9 0 R>>/S/Launch/F 9 0 R/Next[9 0 R 9 0 R]>>endobj\n", n)
	},
	"chain": func(n int) string {
		return repeated(n, func(i int) string {
			return fmt.Sprintf("%d 0 obj<</OpenAction %d 0 R/S/URI/URI %d 0 R/Next %d 0 R>>endobj\n", i, i+1, i+2, i+1)
		})
	},
	"one large action": func(n int) string {
		return "%PDF-1.4\n9 0 obj<<" + strings.Repeat("/OpenAction 9 0 R/S/JavaScript/JS(x)", n/10) + ">>endobj"
	},
	"disguises": func(n int) string { return "%PDF-1.4\n9 0 obj[" + strings.Repeat("/J#53", n) + "]" },
	"circles": func(n int) string {
		return repeated(n, func(i int) string {
			return fmt.Sprintf("%d 0 obj<</Kids[%d 0 R 1 0 R]/Parent %d 0 R>>endobj\n", i, i, i)
		})
	},
}

// TestHostileDocumentsEnd opens documents of up to a million objects.
func TestHostileDocumentsEnd(t *testing.T) {
	for name, f := range hostile {
		t.Run(name, func(t *testing.T) {
			n := 100_000
			if name == "objects" {
				n = 1_000_000
			}
			content := []byte(f(n))
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			start := time.Now()
			o := openWithin(t, content, scanners.BudgetLimits{})
			took := time.Since(start)
			runtime.ReadMemStats(&after)
			t.Logf("%d bytes: %v, %d MB allocated, %d members, checks %q, error %v", len(content), took, (after.TotalAlloc-before.TotalAlloc)>>20, len(o.members), o.checks(), o.err)
			if took > hang {
				t.Errorf("took %v", took)
			}
			if o.err != nil && !errors.Is(o.err, scanners.ErrBudget) {
				t.Errorf("got error %v", o.err)
			}
			if name == "objects" && !slices.Contains(o.checks(), limit) {
				t.Errorf("a million objects: got checks %q", o.checks())
			}
		})
	}
}

func TestEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Documents{}.Expand(ctx, scannertest.Part(t, []byte(hostile["objects"](1000))), scanners.NewBudget(scanners.BudgetLimits{}, eml.SpoolOptions{}), func(m *eml.Part) error {
		t.Error("a member")
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// BenchmarkGrowth prints how the processor time grows when hostile documents get twice as large; 2.0 is
// linear. Where more and more of a document overlaps, it grows faster up to the limit of work.
func BenchmarkGrowth(b *testing.B) {
	cost := func(content []byte) time.Duration {
		best := time.Hour
		for range 3 {
			p, budget := scannertest.Part(b, content), scanners.NewBudget(scanners.BudgetLimits{}, eml.SpoolOptions{})
			runtime.GC()
			start := cpu()
			_, _ = Documents{}.Expand(b.Context(), p, budget, func(m *eml.Part) error { m.Release(); return nil })
			best = min(best, cpu()-start)
		}
		return best
	}
	for name, f := range hostile {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				one, two := []byte(f(30_000)), []byte(f(60_000))
				t1, t2 := cost(one), cost(two)
				b.ReportMetric(2*float64(t2)/float64(t1)*float64(len(one))/float64(len(two)), "ratio")
				b.ReportMetric(float64(len(two))/1e6/t2.Seconds(), "MB/s")
			}
		})
	}
}

func cpu() time.Duration {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
