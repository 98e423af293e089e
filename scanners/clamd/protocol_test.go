package clamd

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"rastel/scanners/scannertest"
)

var replies = []struct{ reply, want string }{
	{"stream: OK\x00", "clean"},
	{"fd[12]: OK\x00", "clean"},
	{"", "temporary"},
	{"\x00", "temporary"},
	{"OK", "temporary"},
	{"OK\x00", "temporary"},
	{"stream: OK", "temporary"},
	{"stream: OK\n", "temporary"},
	{"stream: OK\n\x00", "temporary"},
	{"stream: OK \x00", "temporary"},
	{" stream: OK\x00", "temporary"},
	{"stream:OK\x00", "temporary"},
	{"stream: ok\x00", "temporary"},
	{"stream: \x00", "temporary"},
	{"1: stream: OK\x00", "temporary"},
	{"fd[]: OK\x00", "temporary"},
	{"fd[1a]: OK\x00", "temporary"},
	{"fd[1: OK\x00", "temporary"},
	{"/etc/passwd: OK\x00", "temporary"},
	{"stream: OK\x00stream: X FOUND\x00", "temporary"},
	{"stream: OK\x00stream: OK\x00", "temporary"},
	{"stream: OK\x00\x00", "temporary"},
	{"stream: OK\x00" + strings.Repeat("x", 1<<20), "temporary"},
	{strings.Repeat("stream: OK\x00", 1<<17), "temporary"},
	{"stream: " + strings.Repeat("x", 1<<20) + " FOUND\x00", "temporary"},
	{"stream: " + strings.Repeat("x", maxReply-14) + " FOUND\x00", "temporary"},
	{"stream: " + strings.Repeat("x", maxReply-15) + " FOUND\x00", "clamd/malware"},

	{"stream: Win.Test.EICAR_HDB-1 FOUND\x00", "clamd/malware"},
	{"stream: X(md5:68) FOUND\x00", "clamd/malware"},
	{"stream: X: Y FOUND\x00", "clamd/malware"},
	{"stream: (null) FOUND\x00", "clamd/malware"},
	{"stream: OK FOUND\x00", "clamd/malware"},
	{"fd[7]: X FOUND\x00", "clamd/malware"},
	{"stream:  FOUND\x00", "temporary"},
	{"stream: FOUND\x00", "temporary"},
	{"stream: X FOUND", "temporary"},
	{"stream: X FOUND\n", "temporary"},
	{"stream: X\nY FOUND\x00", "temporary"},
	{"stream: PUA.Win.Tool.Packed-1 FOUND\x00", "clamd/pua"},
	{"stream: Heuristics.Limits.Exceeded.MaxFileSize FOUND\x00", "clamd/limit unexamined"},
	{"stream: Heuristics.Limits.Exceeded FOUND\x00", "clamd/limit unexamined"},
	{"stream: Heuristics.XZ.DicSizeLimit FOUND\x00", "clamd/limit unexamined"},
	{"stream: Heuristics.Encrypted.Zip FOUND\x00", "clamd/encrypted unexamined"},
	{"stream: Heuristics.OLE2.ContainsMacros.VBA FOUND\x00", "clamd/macro"},
	{"stream: Heuristics.Phishing.Email.SpoofedDomain FOUND\x00", "clamd/phishing"},
	{"stream: Heuristics.Zip.OverlappingFiles FOUND\x00", "clamd/heuristic"},

	{"INSTREAM size limit exceeded. ERROR\x00", "clamd/limit unexamined"},
	{"fd[7]: Exceeded time limit ERROR\x00", "clamd/limit unexamined"},
	{"fd[7]: Exceeded max scan files ERROR\x00", "clamd/limit unexamined"},
	{"stream: Bad format or broken data ERROR\x00", "error"},
	{"stream: Can't allocate memory ERROR\x00", "temporary"},
	{"fd[7]: Can't create temporary file ERROR\x00", "temporary"},
	{"stream: X FOUND ERROR\x00", "temporary"},
	{"stream: OK ERROR\x00", "temporary"},
	{"COMMAND READ TIMED OUT\n", "temporary"},
	{"UNKNOWN COMMAND\x00", "temporary"},
	{"HTTP/1.1 400 Bad Request\r\n\r\n", "temporary"},
}

func TestTakesOnlyOneClearReplyForAVerdict(t *testing.T) {
	for _, network := range []string{"unix", "tcp"} {
		for _, tt := range replies {
			f := serve(t, network, answering(tt.reply))
			s := newScanner(t, Config{Addresses: []string{f.addr}})
			findings, err := s.Scan(t.Context(), file(t, "content"))
			if got := scannertest.Outcome(findings, err); got != tt.want {
				t.Errorf("%s: reply %.60q: got %s (%v, %.200v), want %s", network, tt.reply, got, findings, err, tt.want)
			}
		}
	}
}

func TestKeepsTheWholeSignature(t *testing.T) {
	const name = "Foo.Bar-1(44d88612fea8a8f36de82e1278abb02f:68)"
	f := serve(t, "tcp", answering("stream: "+name+" FOUND\x00"))
	p := file(t, "x")
	findings, err := newScanner(t, Config{Addresses: []string{f.addr}}).Scan(t.Context(), p)
	if err != nil || len(findings) != 1 || findings[0].Detail != name || findings[0].Part != p {
		t.Errorf("got %+v, %v, want one finding of %s in the part", findings, err, name)
	}
}

// A connection that breaks before any reply is tried once more, and is never clean.
func TestRetriesABrokenConnectionOnce(t *testing.T) {
	content := strings.Repeat("0123456789", 1000)
	last := int64(len("zINSTREAM\x00") + 4 + len(content) + 4)
	for network, sizes := range map[string][]int64{"tcp": {0, 1, 9, 4096, last - 1, last}, "unix": {0, 1, 8, 9}} {
		for _, n := range sizes {
			f := serve(t, network, func(conn net.Conn) { io.CopyN(io.Discard, conn, n) })
			s := newScanner(t, Config{Addresses: []string{f.addr}})
			findings, err := s.Scan(t.Context(), file(t, content))
			if got := scannertest.Outcome(findings, err); got != "temporary" {
				t.Errorf("%s: closed after %d bytes: got %s (%v), want temporary", network, n, got, err)
			}
			if got := f.conns.Load(); got != attempts {
				t.Errorf("%s: closed after %d bytes: asked %d times, want %d", network, n, got, attempts)
			}
		}
	}
}

func TestSecondConnectionCounts(t *testing.T) {
	for _, network := range []string{"unix", "tcp"} {
		var first atomic.Bool
		f := serve(t, network, func(conn net.Conn) {
			if first.CompareAndSwap(false, true) {
				io.CopyN(io.Discard, conn, 5)
				return
			}
			answering("stream: OK\x00")(conn)
		})
		findings, err := newScanner(t, Config{Addresses: []string{f.addr}}).Scan(t.Context(), file(t, "content"))
		if got := scannertest.Outcome(findings, err); got != "clean" {
			t.Errorf("%s: got %s (%v), want clean", network, got, err)
		}
	}
}

// clamd answers and closes while the content is still being sent.
func TestReadsTheReplyWhenSendingBreaks(t *testing.T) {
	for _, tt := range []struct{ reply, want string }{
		{"INSTREAM size limit exceeded. ERROR\x00", "clamd/limit unexamined"},
		{"stream: X FOUND\x00", "clamd/malware"},
		{"stream: OK\x00", "temporary"}, // OK to a part of it is not OK
	} {
		for _, network := range []string{"unix", "tcp"} {
			f := serve(t, network, func(conn net.Conn) {
				io.CopyN(io.Discard, conn, 4096)
				io.WriteString(conn, tt.reply)
			})
			s := newScanner(t, Config{Addresses: []string{f.addr}})
			c := content{size: 8 << 20, reader: func() io.Reader { return bytes.NewReader(make([]byte, 8<<20)) }}
			c.file = func() (*os.File, error) { return nil, errors.New("not asked for") }
			if network == "unix" {
				c.size = descriptorMax + 1 // more goes as a stream
				c.reader = func() io.Reader { return bytes.NewReader(make([]byte, descriptorMax+1)) }
			}
			findings, err := s.examine(t.Context(), file(t, "x"), c)
			if got := scannertest.Outcome(findings, err); got != tt.want {
				t.Errorf("%s: reply %q: got %s (%v), want %s", network, tt.reply, got, err, tt.want)
			}
			if got := f.conns.Load(); got != 1 {
				t.Errorf("%s: reply %q: asked %d times, want once", network, tt.reply, got)
			}
		}
	}
}

// A clamd that got the empty chunk would call what it has clean.
func TestEndsNoStreamThatIsNotComplete(t *testing.T) {
	broken := func() io.Reader {
		return io.MultiReader(strings.NewReader(strings.Repeat("x", 100_000)), errReader{})
	}
	for name, c := range map[string]content{
		"read error":   {size: 200_000, reader: broken},
		"short":        {size: 200_000, reader: func() io.Reader { return strings.NewReader("x") }},
		"no file":      {size: 10, reader: broken, file: func() (*os.File, error) { return nil, io.ErrClosedPipe }},
		"short at end": {size: 100_001, reader: broken},
	} {
		network := "tcp"
		if c.file != nil {
			network = "unix"
		}
		complete := make(chan bool, attempts)
		f := serve(t, network, func(conn net.Conn) {
			complete <- receive(conn) == nil
			io.WriteString(conn, "stream: OK\x00")
		})
		findings, err := newScanner(t, Config{Addresses: []string{f.addr}}).examine(t.Context(), file(t, "x"), c)
		if got := scannertest.Outcome(findings, err); got != "temporary" || !errors.Is(err, errLocal) {
			t.Errorf("%s: got %s (%v), want temporary, about our side", name, got, err)
		}
		if <-complete {
			t.Errorf("%s: the server was told that the content was complete", name)
		}
	}
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, errors.New("disk on fire") }

// A reader may give its last bytes together with io.EOF.
func TestSendsBytesThatComeWithEOF(t *testing.T) {
	got := make(chan string, 1)
	f := serve(t, "tcp", func(conn net.Conn) {
		b := make([]byte, len("zINSTREAM\x00")+4+3+4)
		io.ReadFull(conn, b)
		got <- string(b)
		io.WriteString(conn, "stream: OK\x00")
	})
	c := content{size: 3, reader: func() io.Reader { return &eofReader{"abc"} }}
	findings, err := newScanner(t, Config{Addresses: []string{f.addr}}).examine(t.Context(), file(t, "x"), c)
	if out := scannertest.Outcome(findings, err); out != "clean" {
		t.Errorf("got %s (%v), want clean", out, err)
	}
	if b, want := <-got, "zINSTREAM\x00\x00\x00\x00\x03abc\x00\x00\x00\x00"; b != want {
		t.Errorf("sent %q, want %q", b, want)
	}
}

type eofReader struct{ s string }

func (r *eofReader) Read(p []byte) (int, error) { return copy(p, r.s), io.EOF }

func TestDeadlineHoldsWhateverClamdDoes(t *testing.T) {
	type fault = func(context.Context, net.Conn)
	faults := map[string]fault{
		"reads and never answers": func(_ context.Context, conn net.Conn) { hold(conn) },
		"never reads":             func(ctx context.Context, _ net.Conn) { <-ctx.Done() },
		"half an answer": func(_ context.Context, conn net.Conn) {
			receive(conn)
			io.WriteString(conn, "stream: O")
			hold(conn)
		},
		"answers, never closes": func(_ context.Context, conn net.Conn) {
			receive(conn)
			io.WriteString(conn, "stream: OK\x00")
			hold(conn)
		},
		"drips": func(_ context.Context, conn net.Conn) {
			receive(conn)
			for _, err := conn.Write([]byte("x")); err == nil; _, err = conn.Write([]byte("x")) {
				waitFor(conn, 10*time.Millisecond)
			}
		},
	}
	for name, fault := range faults {
		for _, network := range []string{"unix", "tcp"} {
			t.Run(network+" "+name, func(t *testing.T) {
				t.Parallel()
				f := serve(t, network, func(conn net.Conn) { fault(t.Context(), conn) })
				s := newScanner(t, Config{Addresses: []string{f.addr}, Timeout: 200 * time.Millisecond})
				start := time.Now()
				findings, err := s.Scan(t.Context(), file(t, strings.Repeat("x", 4<<20)))
				if got := scannertest.Outcome(findings, err); got != "temporary" {
					t.Errorf("got %s (%v), want temporary", got, err)
				}
				if took := time.Since(start); took > 30*time.Second {
					t.Errorf("took %v with a timeout of 200ms", took)
				}
				if got := f.conns.Load(); got > 1 { // on a busy machine the time may be up before
					t.Errorf("asked %d times, want once: the time was up", got)
				}
			})
		}
	}
}

// waitFor waits for that long, or until the other side closes the connection.
func waitFor(conn net.Conn, d time.Duration) {
	conn.SetReadDeadline(time.Now().Add(d))
	conn.Read(make([]byte, 1))
}

func TestCancelEndsAScanAtOnce(t *testing.T) {
	for _, network := range []string{"unix", "tcp"} {
		arrived := make(chan struct{}, 1)
		f := serve(t, network, func(conn net.Conn) { arrived <- struct{}{}; hold(conn) })
		s := newScanner(t, Config{Addresses: []string{f.addr}, Concurrency: 1})
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-arrived; cancel() }()
		start := time.Now()
		_, err := s.Scan(ctx, file(t, "x"))
		if !errors.Is(err, context.Canceled) || time.Since(start) > 30*time.Second {
			t.Errorf("%s: got %v after %v, want context canceled at once", network, err, time.Since(start))
		}
	}
}

func TestScansNoMoreAtATimeThanConfigured(t *testing.T) {
	const limit = 2
	var now, most atomic.Int32
	f := serve(t, "unix", func(conn net.Conn) {
		n := now.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		receive(conn)
		waitFor(conn, 5*time.Millisecond)
		now.Add(-1)
		io.WriteString(conn, "fd[1]: OK\x00")
	})
	s := newScanner(t, Config{Addresses: []string{f.addr}, Concurrency: limit})
	p := file(t, "x")
	errs := make(chan error)
	for range 10 {
		go func() { _, err := s.Scan(t.Context(), p); errs <- err }()
	}
	for range 10 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if got := most.Load(); got > limit {
		t.Errorf("%d scans at a time, want at most %d", got, limit)
	}
}

func TestWaitingForATurnEndsWithTheTimeout(t *testing.T) {
	f := serve(t, "unix", hold)
	s := newScanner(t, Config{Addresses: []string{f.addr}, Concurrency: 1, Timeout: 100 * time.Millisecond})
	if err := s.pool.acquire(t.Context(), newAttempt(nil, false)); err != nil {
		t.Fatal(err)
	}
	findings, err := s.Scan(t.Context(), file(t, "x"))
	if got := scannertest.Outcome(findings, err); got != "temporary" || f.conns.Load() != 0 {
		t.Errorf("got %s (%v), %d connections; want temporary without asking", got, err, f.conns.Load())
	}
}

func TestAsksNothingAboutNothing(t *testing.T) {
	f := serve(t, "unix", answering("stream: X FOUND\x00"))
	s := newScanner(t, Config{Addresses: []string{f.addr}, StreamMax: 10})
	for data, want := range map[string]string{
		"":            "clean",
		"12345678901": "clamd/limit unexamined",
	} {
		findings, err := s.Scan(t.Context(), file(t, data))
		if got := scannertest.Outcome(findings, err); got != want || f.conns.Load() != 0 {
			t.Errorf("%q: got %s (%v) after %d connections, want %s without asking", data, got, err, f.conns.Load(), want)
		}
	}
}

func TestGoesToTheNextAddressAndStaysThere(t *testing.T) {
	f := serve(t, "tcp", answering("stream: OK\x00"))
	s := newScanner(t, Config{Addresses: []string{"unix:/nowhere/at/all", f.addr}})
	for range 3 {
		if findings, err := s.Scan(t.Context(), file(t, "x")); scannertest.Outcome(findings, err) != "clean" {
			t.Fatalf("got %v, %v, want clean", findings, err)
		}
	}
	if got := s.pool.daemons[0].state; got != down {
		t.Errorf("the first address is %v, want down", got)
	}
}

func TestSaysSoonThatNothingListens(t *testing.T) {
	for _, addrs := range [][]string{
		{"unix:/nowhere/at/all"},
		{"tcp:127.0.0.1:1"},
		{"tcp:192.0.2.1:3310", "tcp:198.51.100.1:3310"}, // RFC 5737: nobody answers, if anything routes there
	} {
		s := newScanner(t, Config{Addresses: addrs})
		start := time.Now()
		findings, err := s.Scan(t.Context(), file(t, "x"))
		if got := scannertest.Outcome(findings, err); got != "temporary" {
			t.Errorf("%q: got %s (%v), want temporary", addrs, got, err)
		}
		if took := time.Since(start); took > connectTimeout+30*time.Second {
			t.Errorf("%q: took %v, want at most %v", addrs, took, connectTimeout)
		}
	}
}

func TestKeepsTheContractOfScanners(t *testing.T) {
	for _, network := range []string{"unix", "tcp"} {
		f := serve(t, network, answering("stream: OK\x00"))
		scannertest.Run(t, newScanner(t, Config{Addresses: []string{f.addr}}))
	}
}
