package icap

import (
	"io"
	"strings"
	"testing"
)

// A scripted connection answers what it is told to, whatever it is sent.
type scripted struct {
	io.Reader
	written int64
}

func (s *scripted) Write(p []byte) (int, error) { s.written += int64(len(p)); return len(p), nil }

// FuzzReply has a server answer anything to a request with a preview (which may be all), and to one without.
func FuzzReply(f *testing.F) {
	for _, tt := range replies {
		if len(tt.reply) < 4096 {
			f.Add(tt.reply)
			f.Add("ICAP/1.0 100 Continue\r\n\r\n" + tt.reply)
		}
	}
	f.Add(able)
	f.Fuzz(func(t *testing.T, answer string) {
		for _, preview := range []int64{-1, 0, 8, int64(len(sent))} {
			v, err := converse(answer, preview)
			if err != nil || len(v.seen) > 0 {
				continue
			}
			checkClean(t, answer, preview, v)
		}
		a := newWire(&scripted{Reader: strings.NewReader(answer)}, func() {})
		_, _ = a.options(target{})
	})
}

func converse(answer string, preview int64) (verdict, error) {
	x := content{int64(len(sent)), func() io.Reader { return strings.NewReader(sent) }}
	conn := &scripted{Reader: strings.NewReader(answer)}
	return newWire(conn, func() {}).modify(target{}, x, preview, true)
}

// checkClean sees that what counts as clean is the answer of a service, whole, and nothing else.
func checkClean(t *testing.T, answer string, preview int64, v verdict) {
	t.Helper()
	if v.tag == "" {
		t.Errorf("%q is clean without an ISTag", answer)
	}
	at := strings.LastIndex(answer, "ICAP/1.")
	end := at + strings.Index(answer[at:], "\n") + 1
	found := answer[:end] + "X-Virus-ID: Eicar\r\n" + answer[end:]
	if w, err := converse(found, preview); err == nil && len(w.seen) == 0 {
		t.Errorf("%q is clean, and so is %q", answer, found)
	}
	if len(answer) > 4000 { // what stands behind it has not all arrived
		return
	}
	for _, other := range []string{answer[:len(answer)-1], answer + "x"} {
		if w, err := converse(other, preview); err == nil && len(w.seen) == 0 {
			t.Errorf("%q is clean, and so is %q", answer, other)
		}
	}
}
