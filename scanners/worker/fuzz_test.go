package worker

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

// FuzzAnswer holds the parent to its promise: whatever a worker says, it does not panic, it ends,
// and no more comes of it than the budget allows. The input is packets, each behind its length.
func FuzzAnswer(f *testing.F) {
	for _, frames := range [][]string{
		{"b\x00", "m\x00" + `{"Index":1,"Names":["YQ=="],"MediaType":"a/b"}`, "d\x00abc", "t\x00", "f\x00" + `{"Check":"test/x","Member":1,"Detail":"YQ=="}`, "e\x00{}"},
		{"b\x00", "q\x00", "e\x00" + `{"Error":"x","Budget":true,"Used":{"Bytes":1000000000000}}`},
		{"b\x00", "e\x01" + `{"Error":`, "e\x00" + `"x","Stack":"y","Retire":true}`},
		{"b\x00", "m\x01{", "m\x01\"", "x"},
		{"e\x00{}"}, {""}, {"b\x00", "m\x00" + `{"Index":1}`, "e\x00{}"},
	} {
		var in []byte
		for _, s := range frames {
			in = binary.BigEndian.AppendUint16(in, uint16(len(s)))
			in = append(in, s...)
		}
		f.Add(in)
	}
	p := fuzzPart(f)
	lim := scanners.BudgetLimits{Bytes: 1 << 16, Members: 10}
	f.Fuzz(func(t *testing.T, in []byte) {
		ours, theirs, err := socketPair()
		if err != nil {
			t.Fatal(err)
		}
		var said chan struct{}
		defer func() { ours.Close(); <-said }()
		said = say(theirs, in)
		pl := &Pool{}
		w := &process{pool: pl, conn: newConn(ours), end: ours.Close}
		ctx, cancel := context.WithTimeout(t.Context(), hang)
		defer cancel()
		x := &isolated{Opener: misbehaver{}, name: "test", pool: pl}
		members, size := 0, int64(0)
		task := &task{x: x, w: w, ctx: ctx, p: p, b: scanners.NewBudget(lim, eml.SpoolOptions{}), resume: func() {}, yield: func(m *eml.Part) error {
			members, size = members+1, size+m.Size
			m.Release()
			return nil
		}}
		content, err := p.File()
		if err != nil {
			t.Fatal(err)
		}
		defer content.Close()
		start := time.Now()
		last, err := task.exchange(content)
		if took := time.Since(start); took > hang/2 {
			t.Errorf("took %v", took)
		}
		var ended *lost
		if err != nil && !errors.As(err, &ended) && !errors.Is(err, scanners.ErrBudget) {
			t.Errorf("got %v", err)
		}
		if members > lim.Members || size > lim.Bytes || len(task.findings) > maxFindings {
			t.Errorf("%d members of %d bytes, %d findings", members, size, len(task.findings))
		}
		for _, found := range task.findings {
			if found.Part == nil || !x.reports(found.Check) || len(found.Detail) > maxDetail {
				t.Errorf("finding %+v", found)
			}
		}
		if err == nil && last == nil {
			t.Error("no end, and no error")
		}
	})
}

// say sends packets, and reads what comes until the other side is closed.
func say(theirs *os.File, in []byte) chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer theirs.Close()
		for len(in) >= 2 {
			n := min(int(binary.BigEndian.Uint16(in)), len(in)-2)
			if err := unix.Sendto(int(theirs.Fd()), in[2:2+n], unix.MSG_NOSIGNAL, nil); err != nil {
				return
			}
			in = in[2+n:]
		}
	}()
	return done
}

func fuzzPart(f *testing.F) *eml.Part {
	s := eml.NewSpool(eml.SpoolOptions{})
	_, _ = io.WriteString(s, "Content-Type: application/x; name=n\r\n\r\nsome content")
	s.CloseWrite(nil)
	m, _, err := eml.Parse(f.Context(), &eml.Envelope{}, s, eml.Limits{}, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { m.Close(); s.Close() })
	return m.Root
}
