package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rastel/contrib/rig"
	"rastel/sanitize/eml"
	"rastel/scanners"
	"rastel/scanners/clamd"
	"rastel/scanners/scannertest"
)

// A counter stands before a clamd. It counts what clamd is asked about, and puts a database into what
// clamd says of its version: one without an official database tells none. Without a clamd behind it, it
// calls everything clean.
type counter struct {
	addr     string
	behind   string // host:port of clamd; empty: none
	large    int64  // bytes from which content counts
	database atomic.Int64
	scans    atomic.Int64 // of large content
	others   atomic.Int64
}

func startCounter(tb testing.TB, behind string, large int64) *counter {
	tb.Helper()
	c := &counter{behind: behind, large: large}
	c.database.Store(27500)
	c.addr = "tcp:" + scannertest.Serve(tb, "tcp", "127.0.0.1:0", c.serve)
	return c
}

func (c *counter) serve(conn net.Conn) {
	var request bytes.Buffer
	in := io.TeeReader(conn, &request)
	command := make([]byte, 0, 16)
	for b := make([]byte, 1); len(command) < 16; command = append(command, b[0]) {
		if _, err := in.Read(b); err != nil {
			return
		}
		if b[0] == 0 {
			break
		}
	}
	reply := "PONG\x00"
	switch string(command) {
	case "zVERSION":
		reply = fmt.Sprintf("ClamAV 1.4.6/%d/Mon Nov 23 10:00:00 2026\x00", c.database.Load())
	case "zINSTREAM":
		size := int64(0)
		for {
			var n uint32
			if binary.Read(in, binary.BigEndian, &n) != nil {
				return
			}
			if n == 0 {
				break
			}
			if _, err := io.CopyN(io.Discard, in, int64(n)); err != nil {
				return
			}
			size += int64(n)
		}
		if size >= c.large {
			c.scans.Add(1)
		} else {
			c.others.Add(1)
		}
		reply = "stream: OK\x00"
	}
	if c.behind != "" && string(command) == "zINSTREAM" {
		c.pass(conn, &request)
		return
	}
	io.WriteString(conn, reply)
}

// pass hands a question on, and the answer back.
func (c *counter) pass(conn net.Conn, request io.Reader) {
	clamd, err := net.Dial("tcp", c.behind)
	if err != nil {
		return
	}
	defer clamd.Close()
	if _, err := io.Copy(clamd, request); err == nil {
		io.Copy(conn, clamd)
	}
}

// A mailing makes messages with the same attachment of that many bytes.
type mailing struct{ encoded []byte }

func newMailing(size int) *mailing {
	content := make([]byte, size)
	r := rand.NewChaCha8([32]byte{6})
	r.Read(content)
	text := base64.StdEncoding.EncodeToString(content)
	var b bytes.Buffer
	for ; len(text) > 76; text = text[76:] {
		b.WriteString(text[:76] + "\r\n")
	}
	b.WriteString(text + "\r\n")
	return &mailing{b.Bytes()}
}

// message is the n-th: sender, subject and text are its own, and the file has another name.
func (r *mailing) message(n int) []byte {
	return fmt.Appendf(nil, "From: a%d@example.com\r\nTo: b@example.org\r\nSubject: report %d\r\nMessage-ID: <%d@example.com>\r\nMIME-Version: 1.0\r\n"+
		"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nHello %d\r\n--b\r\n"+
		"Content-Type: application/octet-stream; name=report%d.dat\r\nContent-Disposition: attachment\r\nContent-Transfer-Encoding: base64\r\n\r\n%s--b--\r\n", n, n, n, n, n, r.encoded)
}

// examineRepeated examines messages [from, to), several at a time, as serve does.
func examineRepeated(tb testing.TB, b *built, r *mailing, from, to int) {
	tb.Helper()
	e := b.engine(nil)
	var next atomic.Int64
	next.Store(int64(from))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for n := next.Add(1) - 1; n < int64(to); n = next.Add(1) - 1 {
				s := eml.NewSpool(eml.SpoolOptions{})
				s.Write(r.message(int(n)))
				s.CloseWrite(nil)
				x, err := e.Examine(tb.Context(), &eml.Envelope{Recipients: []string{"b@example.org"}}, s)
				if err != nil {
					tb.Error(err)
				} else {
					if got := x.Verdict.Action.String(); got != "accept" || len(x.Report.Unexamined) > 0 {
						tb.Errorf("message %d: %s, %v", n, got, x.Report.Unexamined)
					}
					x.Message.Close()
				}
				s.Close()
			}
		})
	}
	wg.Wait()
}

// repeatedBuilt is what examines them, with that clamd.
func repeatedBuilt(tb testing.TB, c *counter) *built {
	tb.Helper()
	b, err := build(&Config{Clamd: &clamd.Config{Addresses: []string{c.addr}, Timeout: 4 * time.Minute}}, slog.New(slog.DiscardHandler))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(b.close)
	var watch sync.WaitGroup
	watch.Go(func() { b.clamd.Watch(tb.Context()) })
	tb.Cleanup(watch.Wait)
	awaitDatabase(tb, b, "27500")
	return b
}

// awaitDatabase waits until it is known that clamd has that database.
func awaitDatabase(tb testing.TB, b *built, database string) {
	tb.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	giveUp := time.After(time.Minute)
	for e := scanners.Engine(b.clamd); !strings.Contains(e.Version(), database); {
		select {
		case <-tick.C:
		case <-giveUp:
			tb.Fatalf("version %q after a minute, want %s", e.Version(), database)
		}
	}
}

func TestTheSameAttachmentIsScannedOnceForEachDatabase(t *testing.T) {
	c := startCounter(t, "", 500_000)
	b, r := repeatedBuilt(t, c), newMailing(500_000)
	examineRepeated(t, b, r, 0, 30)
	if n := c.scans.Load(); n != 1 {
		t.Errorf("%d scans of one attachment in 30 messages", n)
	}
	if n := c.others.Load(); n != 30 {
		t.Errorf("%d skeletons of 30 messages", n)
	}
	c.database.Store(27501)
	awaitDatabase(t, b, "27501")
	examineRepeated(t, b, r, 30, 60)
	if n := c.scans.Load(); n != 2 {
		t.Errorf("%d scans with two databases", n)
	}
	b.cache.Forget()
	examineRepeated(t, b, r, 60, 70)
	if n := c.scans.Load(); n != 3 {
		t.Errorf("%d scans after all was forgotten", n)
	}
}

// BenchmarkRepeated examines 1,000 messages with the same attachment of 5 MB, with a real clamd if there
// is one, then reloads its database and examines ten more.
func BenchmarkRepeated(b *testing.B) {
	const messages, size = 1000, 5_000_000
	behind, reload := "", func() error { return nil }
	if os.Getenv("RASTEL_E2E") != "" {
		d, err := rig.StartClamd(rig.ClamdOptions{TCP: true, Lines: []string{"DisableCache yes"}})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { d.Stop() })
		behind = strings.TrimPrefix(d.TCP, "tcp:")
		reload = d.Reload
	}
	for b.Loop() {
		c := startCounter(b, behind, size)
		built, r := repeatedBuilt(b, c), newMailing(size)
		examineRepeated(b, built, r, 0, messages)
		first := c.scans.Load()
		if err := reload(); err != nil {
			b.Fatal(err)
		}
		c.database.Store(27501)
		awaitDatabase(b, built, "27501")
		examineRepeated(b, built, r, messages, messages+10)
		if first != 1 || c.scans.Load() != 2 {
			b.Fatalf("%d scans, then %d", first, c.scans.Load())
		}
		b.ReportMetric(float64(first), "scans/1000-messages")
		b.ReportMetric(float64(c.scans.Load()-first), "scans/new-database")
		b.ReportMetric(float64(c.others.Load()), "skeletons")
	}
}
