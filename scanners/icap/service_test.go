package icap

import (
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rastel/scanners/scannertest"
)

// long is longer than one chunk, than a preview and than what sockets hold.
var long = strings.Repeat("0123456789abcdef", 1<<20)

func TestSendsAllOfTheContent(t *testing.T) {
	for _, options := range []string{
		able, strings.Replace(able, "Preview: 8", "Preview: 0", 1), strings.Replace(able, "Preview: 8", "Preview: 999999999", 1),
		strings.Replace(able, "Preview: 8\r\n", "", 1),
	} {
		for _, content := range []string{"x", sent[:8], sent, long} {
			f := serve(t, options, func(c *call) bool {
				c.rest()
				if string(c.content) != content {
					c.reply(back("200 OK", "not this"))
				}
				c.reply(clean204)
				return true
			})
			findings, err := newScanner(t, Config{URL: f.url}).Scan(t.Context(), file(t, content))
			if got := scannertest.Outcome(findings, err); got != "clean" {
				t.Errorf("%d bytes after %q: got %s (%v), want clean", len(content), options, got, err)
			}
		}
	}
}

// A service that sends the content back does so while it comes.
func TestComparesWhileItSends(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		change     int // this byte of it is another
	}{{"the same", "clean", -1}, {"another at the end", blocked, len(long) - 1}, {"another at the beginning", blocked, 0}} {
		options := strings.Replace(able, "Preview: 8\r\n", "", 1)
		f := serveRaw(t, func(conn net.Conn) { echo(conn, options, tt.change) })
		findings, err := newScanner(t, Config{URL: f.url}).Scan(t.Context(), file(t, long))
		if got := scannertest.Outcome(findings, err); got != tt.want {
			t.Errorf("%s: got %s (%v), want %s", tt.name, got, err, tt.want)
		}
	}
}

// serveRaw is serve for a server that does all on its own.
func serveRaw(t *testing.T, handle func(net.Conn)) *fake {
	t.Helper()
	return new(fake).serve(t, handle)
}

// echo answers OPTIONS, then sends each chunk back as soon as it has it.
func echo(conn net.Conn, options string, change int) {
	buf := make([]byte, 64<<10)
	conn.Read(buf)
	io.WriteString(conn, options)
	conn.Read(buf[:1]) // the request begins
	head := "HTTP/1.1 200 OK\r\n\r\n"
	fmt.Fprintf(conn, "%sEncapsulated: res-hdr=0, res-body=%d\r\n\r\n%s", tagged, len(head), head)
	for at := 0; at < len(long); {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		_ = n // what came is known; as much of it is sent back
		n = min(n, len(long)-at)
		chunk := []byte(long[at : at+n])
		if change >= at && change < at+n {
			chunk[change-at] = '!'
		}
		at += n
		fmt.Fprintf(conn, "%x\r\n%s\r\n", n, chunk)
	}
	io.WriteString(conn, "0\r\n\r\n")
	io.Copy(io.Discard, conn)
}

func TestKeepsConnections(t *testing.T) {
	f := serve(t, able, func(c *call) bool { c.rest(); c.reply(clean204); return true })
	s := newScanner(t, Config{URL: f.url})
	for range 50 {
		if got := scannertest.Outcome(s.Scan(t.Context(), file(t, sent))); got != "clean" {
			t.Fatalf("got %s, want clean", got)
		}
	}
	if conns, options, scans := f.conns.Load(), f.options.Load(), f.scans.Load(); conns != 1 || options != 1 || scans != 50 {
		t.Errorf("%d connections, %d times OPTIONS, %d scans, want 1, 1, 50", conns, options, scans)
	}
}

func TestClosesWhatTheServiceCloses(t *testing.T) {
	closing := strings.Replace(clean204, "ISTag", "Connection: close\r\nISTag", 1)
	f := serve(t, able, func(c *call) bool { c.rest(); c.reply(closing); return true })
	s := newScanner(t, Config{URL: f.url})
	for range 3 {
		if got := scannertest.Outcome(s.Scan(t.Context(), file(t, sent))); got != "clean" {
			t.Fatalf("got %s, want clean", got)
		}
	}
	if got := f.conns.Load(); got != 3 {
		t.Errorf("%d connections, want 3: one for each scan", got)
	}
}

// The answer to nothing must not become the answer to the next part.
func TestTakesNoReplyThatNobodyAskedFor(t *testing.T) {
	read := make(chan struct{})
	f := serve(t, able, func(c *call) bool {
		c.rest()
		if c.n == 1 {
			c.reply(clean204)
			<-read
			c.reply(clean204)
			return true
		}
		c.reply("ICAP/1.0 200 OK\r\nX-Virus-ID: Eicar\r\n\r\n")
		return false
	})
	s := newScanner(t, Config{URL: f.url})
	if got := scannertest.Outcome(s.Scan(t.Context(), file(t, sent))); got != "clean" {
		t.Fatalf("got %s, want clean", got)
	}
	close(read)
	awaitBytes(t, s)
	if got := scannertest.Outcome(s.Scan(t.Context(), file(t, sent+"bad"))); got != malware {
		t.Errorf("got %s, want %s", got, malware)
	}
}

// awaitBytes waits until something has arrived at the connection that is kept.
func awaitBytes(t *testing.T, s *Scanner) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for range 10_000 {
		s.service.idle.mu.Lock()
		quiet := silent(s.service.idle.list[0].raw)
		s.service.idle.mu.Unlock()
		if !quiet {
			return
		}
		<-tick.C
	}
	t.Fatal("nothing arrives")
}

// A service that was started anew has closed what was kept: that is asked again, once, and nothing else is.
func TestAsksAgainOnlyWhereAKeptConnectionHasEnded(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fail  func(c *call) // of the second request
		want  string
		scans int32
	}{
		{"before any byte", func(*call) {}, "clean", 3},
		{"after a byte", func(c *call) { c.reply("I") }, "temporary", 2},
		{"after 100", func(c *call) { c.reply("ICAP/1.0 100 Continue\r\n\r\n") }, "temporary", 2},
		{"by garbage", func(c *call) { c.reply("garbage\r\n\r\n") }, "temporary", 2},
		{"by 503", func(c *call) { c.reply("ICAP/1.0 503 Overloaded\r\n\r\n") }, "temporary", 2},
	} {
		f := serve(t, able, func(c *call) bool {
			if c.n == 2 {
				tt.fail(c)
				return false
			}
			c.rest()
			c.reply(clean204)
			return true
		})
		s := newScanner(t, Config{URL: f.url})
		if got := scannertest.Outcome(s.Scan(t.Context(), file(t, sent))); got != "clean" {
			t.Fatalf("got %s, want clean", got)
		}
		findings, err := s.Scan(t.Context(), file(t, sent))
		if got := scannertest.Outcome(findings, err); got != tt.want || f.scans.Load() != tt.scans {
			t.Errorf("ended %s: got %s (%v) after %d requests, want %s after %d", tt.name, got, err, f.scans.Load(), tt.want, tt.scans)
		}
	}
	var scans atomic.Int32
	f := serve(t, able, func(c *call) bool {
		scans.Add(1)
		return c.n == 1 && func() bool { c.rest(); c.reply(clean204); return true }()
	})
	s := newScanner(t, Config{URL: f.url})
	s.Scan(t.Context(), file(t, sent))
	if got := scannertest.Outcome(s.Scan(t.Context(), file(t, sent))); got != "temporary" || scans.Load() != 3 {
		t.Errorf("ended again: got %s after %d requests, want temporary after 3", got, scans.Load())
	}
}

// Wherever the connection ends, the content is not clean.
func TestIsNeverCleanWhereTheConnectionEnds(t *testing.T) {
	full := "ICAP/1.0 100 Continue\r\n\r\n" + clean204
	for n := range len(full) {
		f := serve(t, able, func(c *call) bool { c.reply(full[:n]); return false })
		findings, err := newScanner(t, Config{URL: f.url}).Scan(t.Context(), file(t, sent))
		if got := scannertest.Outcome(findings, err); got != "temporary" {
			t.Errorf("closed after %q: got %s (%v), want temporary", full[:n], got, err)
		}
	}
	request := int64(1000 + len(long)) // less than all of it
	for _, n := range []int64{0, 1, 9, 100, 4096, request} {
		f := serveRaw(t, func(conn net.Conn) {
			buf := make([]byte, 4096)
			conn.Read(buf)
			io.WriteString(conn, strings.Replace(able, "Preview: 8\r\n", "", 1))
			io.CopyN(io.Discard, conn, n)
		})
		findings, err := newScanner(t, Config{URL: f.url}).Scan(t.Context(), file(t, long))
		if got := scannertest.Outcome(findings, err); got != "temporary" {
			t.Errorf("closed after %d bytes of the request: got %s (%v), want temporary", n, got, err)
		}
	}
}

// What is said before all was sent holds if it is a finding, and not if it is clean.
func TestReadsTheReplyWhenSendingBreaks(t *testing.T) {
	for _, tt := range []struct{ reply, want string }{
		{clean204, "temporary"},
		{back("403 Forbidden", "no"), blocked},
		{tagged + "X-Virus-ID: Eicar\r\n\r\n", malware},
		{"ICAP/1.0 503 Overloaded\r\n\r\n", "temporary"},
	} {
		f := serveRaw(t, func(conn net.Conn) {
			buf := make([]byte, 4096)
			conn.Read(buf)
			io.WriteString(conn, strings.Replace(able, "Preview: 8\r\n", "", 1))
			io.CopyN(io.Discard, conn, 4096)
			io.WriteString(conn, tt.reply)
			conn.(*net.TCPConn).CloseWrite()
			io.CopyN(io.Discard, conn, 4096)
			conn.(*net.TCPConn).SetLinger(-1)
			io.CopyN(io.Discard, conn, 1<<20)
		})
		findings, err := newScanner(t, Config{URL: f.url}).Scan(t.Context(), file(t, long))
		if got := scannertest.Outcome(findings, err); got != tt.want {
			t.Errorf("reply %q: got %s (%v), want %s", tt.reply, got, err, tt.want)
		}
	}
}

// A body that is ended too early would be taken for all, and called clean.
func TestEndsNoBodyThatIsNotComplete(t *testing.T) {
	for name, x := range map[string]content{
		"short":        {size: 200_000, reader: func() io.Reader { return strings.NewReader(long[:100_000]) }},
		"short by one": {size: 200_000, reader: func() io.Reader { return strings.NewReader(long[:199_999]) }},
		"empty":        {size: 200_000, reader: func() io.Reader { return strings.NewReader("") }},
	} {
		for _, options := range []string{able, strings.Replace(able, "Preview: 8\r\n", "", 1)} {
			f := serveRaw(t, func(conn net.Conn) {
				buf := make([]byte, 4096)
				conn.Read(buf)
				io.WriteString(conn, options)
				io.Copy(io.Discard, conn)
			})
			s := newScanner(t, Config{URL: f.url})
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond) // the preview is waited for
			seen, err := s.service.scan(ctx, x, false)
			cancel()
			if err == nil || len(seen) > 0 {
				t.Errorf("%s: got %v, %v, want an error", name, seen, err)
			}
		}
	}
}

func TestSendsAllWhereTheServiceLooksAtTheBeginningOnly(t *testing.T) {
	for _, tt := range []struct {
		trust bool
		want  string
		scans int32
	}{{false, malware, 2}, {true, "clean", 1}} {
		f := serve(t, able, func(c *call) bool {
			if !c.whole {
				c.reply(clean204)
				return true
			}
			c.reply(tagged + "X-Virus-ID: Eicar\r\n\r\n")
			return false
		})
		findings, err := newScanner(t, Config{URL: f.url, TrustPreview: tt.trust}).Scan(t.Context(), file(t, sent))
		if got := scannertest.Outcome(findings, err); got != tt.want || f.scans.Load() != tt.scans {
			t.Errorf("trust_preview %v: got %s (%v) after %d requests, want %s after %d", tt.trust, got, err, f.scans.Load(), tt.want, tt.scans)
		}
	}
}

func TestHeedsMaxConnections(t *testing.T) {
	var now, most atomic.Int32
	f := serve(t, strings.Replace(able, "Preview: 8", "Max-Connections: 2", 1), func(c *call) bool {
		n := now.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		runtime.Gosched()
		now.Add(-1)
		c.reply(clean204)
		return true
	})
	s := newScanner(t, Config{URL: f.url, Concurrency: 50})
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			if got := scannertest.Outcome(s.Scan(t.Context(), file(t, sent))); got != "clean" {
				t.Errorf("got %s, want clean", got)
			}
		})
	}
	wg.Wait()
	if most.Load() > 2 || f.conns.Load() > 3 { // OPTIONS may have had one more
		t.Errorf("%d scans at a time over %d connections, want no more than 2", most.Load(), f.conns.Load())
	}
}

func TestVersionIsTheTagOfTheLastReply(t *testing.T) {
	f := serve(t, able, func(c *call) bool {
		c.rest()
		c.reply(strings.Replace(clean204, "one", fmt.Sprint("tag", c.n), 1))
		return true
	})
	s := newScanner(t, Config{URL: f.url})
	if got := s.Version(); got != "" {
		t.Errorf("before any reply: got %q, want nothing", got)
	}
	for n := 1; n < 4; n++ {
		s.Scan(t.Context(), file(t, sent))
		if got, want := s.Version(), fmt.Sprintf("%q", fmt.Sprint("tag", n)); !strings.Contains(got, want) {
			t.Errorf("got %q, want %s in it", got, want)
		}
	}
	s.service.mu.Lock()
	s.service.seen = s.service.seen.Add(-versionAge)
	s.service.mu.Unlock()
	if got := s.Version(); got != "" {
		t.Errorf("long after the last reply: got %q, want nothing", got)
	}
}

// Another tag is another configuration, and what holds for a time only is asked again after it.
func TestAsksAgainWhatTheServiceCanDo(t *testing.T) {
	f := serve(t, strings.Replace(able, "Preview: 8", "Options-TTL: 0", 1), answering(clean204))
	s := newScanner(t, Config{URL: f.url})
	s.Scan(t.Context(), file(t, sent))
	s.Scan(t.Context(), file(t, sent))
	if got := f.options.Load(); got != 2 {
		t.Errorf("Options-TTL: 0: asked %d times, want 2", got)
	}
	f = serve(t, able, answering(strings.Replace(clean204, "one", "two", 1)))
	s = newScanner(t, Config{URL: f.url})
	s.Ping(t.Context())
	s.service.mu.Lock()
	s.service.seen = s.service.seen.Add(-time.Minute)
	s.service.mu.Unlock()
	s.Scan(t.Context(), file(t, sent))
	s.Scan(t.Context(), file(t, sent))
	if got := f.options.Load(); got != 2 {
		t.Errorf("another tag: asked %d times, want 2", got)
	}
}

func TestReportsWhatIsTooLarge(t *testing.T) {
	f := serve(t, able, answering(clean204))
	s := newScanner(t, Config{URL: f.url, SizeMax: 10})
	if got := scannertest.Outcome(s.Scan(t.Context(), file(t, sent))); got != limit+" unexamined" || f.conns.Load() != 0 {
		t.Errorf("got %s over %d connections, want %s over none", got, f.conns.Load(), limit+" unexamined")
	}
	if got := scannertest.Outcome(s.Scan(t.Context(), file(t, ""))); got != "clean" || f.conns.Load() != 0 {
		t.Errorf("nothing: got %s over %d connections, want clean over none", got, f.conns.Load())
	}
}

func TestEndsWhenItsTimeIsUp(t *testing.T) {
	for name, handle := range map[string]func(*call) bool{
		"preview": func(c *call) bool { io.Copy(io.Discard, c.conn); return false },
		"content": func(c *call) bool { c.rest(); io.Copy(io.Discard, c.conn); return false },
		"upload":  func(c *call) bool { c.reply("ICAP/1.0 100 Continue\r\n\r\n"); <-t.Context().Done(); return false },
	} {
		f := serve(t, able, handle)
		findings, err := newScanner(t, Config{URL: f.url, Timeout: 200 * time.Millisecond}).Scan(t.Context(), file(t, sent))
		if got := scannertest.Outcome(findings, err); got != "temporary" {
			t.Errorf("%s: got %s (%v), want temporary", name, got, err)
		}
	}
	if _, err := newScanner(t, Config{URL: "icap://127.0.0.1:1/x"}).Ping(t.Context()); err == nil {
		t.Error("Ping succeeded where nobody listens")
	}
}

func TestKeepsItsContract(t *testing.T) {
	f := serve(t, able, func(c *call) bool { c.rest(); c.reply(clean204); return true })
	scannertest.Run(t, newScanner(t, Config{URL: f.url}))
}
