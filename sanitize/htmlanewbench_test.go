package sanitize

import (
	"bytes"
	"io"
	"runtime"
	"testing"
	"time"

	"rastel/sanitize/eml"
)

// BenchmarkHTMLAnew compares writing a page anew, as clean and as text, with the time of the tokenizer of
// golang.org/x/net/html by the yardstick of BenchmarkHTML: of-attrs, of which no row is to be below 0.7. A
// writer alone goes from UTF-8 to its output; a part goes from its content to the patched content, which besides
// is decoded from its charset and written in quoted-printable.
func BenchmarkHTMLAnew(b *testing.B) {
	for name, page := range benchPages(b) {
		utf8 := bytes.ToValidUTF8(page, []byte("\ufffd"))
		b.Run(name+"/clean", func(b *testing.B) {
			compareTo(b, utf8, func() error { return writeClean(io.Discard, bytes.NewReader(utf8), nil, "utf-8", "") })
		})
		b.Run(name+"/text", func(b *testing.B) {
			compareTo(b, utf8, func() error { return writeText(io.Discard, bytes.NewReader(utf8), false, "") })
		})
		m := message(b, htmlHeader+"; charset=utf-8", string(utf8))
		b.Run(name+"/clean-part", func(b *testing.B) { compareTo(b, utf8, func() error { return writePart(m, Clean) }) })
		b.Run(name+"/text-part", func(b *testing.B) { compareTo(b, utf8, func() error { return writePart(m, Text) }) })
	}
}

func writePart(m *eml.Message, rewrite func(*eml.Part) ([]eml.Edit, error)) error {
	edits, err := rewrite(m.Root)
	if err != nil {
		return err
	}
	p, err := eml.NewPatch(m, edits)
	if err != nil {
		return err
	}
	_, err = p.WriteTo(io.Discard)
	return err
}

// compareTo compares what write does with a page with what the tokenizer does.
func compareTo(b *testing.B, page []byte, write func() error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var ours, tokens, attrs time.Duration
	b.SetBytes(int64(len(page)))
	b.ReportAllocs()
	for b.Loop() {
		start := threadTime(b)
		if err := write(); err != nil {
			b.Fatal(err)
		}
		ours += threadTime(b) - start
		b.StopTimer()
		start = threadTime(b)
		tokenize(page, false)
		tokens += threadTime(b) - start
		start = threadTime(b)
		tokenize(page, true)
		attrs += threadTime(b) - start
		b.StartTimer()
	}
	reportSpeed(b, len(page), ours, tokens, attrs)
}
