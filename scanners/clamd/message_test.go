package clamd

import (
	"bufio"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"rastel/scanners/scannertest"
)

// A recorder is a fake that keeps what it was sent, and finds malware in what holds "BAD".
type recorder struct {
	mu   sync.Mutex
	sent []string
}

func (r *recorder) handle(conn net.Conn) {
	in := bufio.NewReader(conn)
	if _, err := in.ReadString(0); err != nil {
		return
	}
	var all strings.Builder
	for {
		var n uint32
		if binary.Read(in, binary.BigEndian, &n) != nil || n == 0 {
			break
		}
		io.CopyN(&all, in, int64(n))
	}
	r.mu.Lock()
	r.sent = append(r.sent, all.String())
	r.mu.Unlock()
	reply := "stream: OK\x00"
	if strings.Contains(all.String(), "BAD") {
		reply = "stream: Bad FOUND\x00"
	}
	io.WriteString(conn, reply)
}

const (
	plain = "Content-Type: text/plain\r\n\r\n"
	end   = "--BB--\r\n"
)

func mixed(parts ...string) string {
	s := "X-Mailer: x\r\nSubject: s\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=BB\r\n\r\n"
	for _, p := range parts {
		s += "--BB\r\n" + p + "\r\n"
	}
	return s + end
}

func encoded(header, content string) string {
	return header + "Content-Transfer-Encoding: base64\r\n\r\n" + base64.StdEncoding.EncodeToString([]byte(content))
}

func TestSendsTheMessageWithWhatIsNotSentAlone(t *testing.T) {
	attached := encoded("Content-Type: application/octet-stream; name=a.bin\r\n", "\x00\x01\x02binary")
	attachedText := encoded("Content-Type: text/plain; name=a.txt\r\n", "attached text")
	hidden := encoded("Content-Type: text/html\r\n", "<p>first</p>\r\n--BB--\r\n")
	many := slices.Repeat([]string{plain + "x"}, maxEntities+1)
	deep := func() string {
		s := plain + "deep text"
		for i := range maxLevels + 1 {
			s = fmt.Sprintf("Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n%s\r\n--b%d--\r\n", i, i, s, i)
		}
		return s
	}()
	for _, tt := range []struct {
		name, raw, setting string
		whole              int      // how often a whole message is sent
		alone              []string // the contents that are sent alone
	}{
		{"text", "Subject: s\r\n\r\nhello\r\n", "", 1, nil},
		{"text and file", mixed(plain+"hello", attached), "", 1, []string{"\x00\x01\x02binary"}},
		{"attached text", mixed(plain+"hello", attachedText), "", 1, []string{"attached text"}},
		{"text without name, attached", mixed("Content-Disposition: attachment\r\n\r\nhello"), "", 1, []string{"hello"}},
		{"raw always", mixed(plain+"hello", attached), rawAlways, 2, []string{"\x00\x01\x02binary"}},
		{"ambiguous", strings.Replace(mixed(plain+"hello"), "boundary=BB", "boundary=BB; boundary=CC", 1), "", 2, []string{"hello"}},
		{"more entities than clamd reads", mixed(many...), "", 1, slices.Repeat([]string{"x"}, maxEntities+1)},
		{"deeper than clamd reads", deep, "", 1, []string{"deep text"}},
		{"a delimiter comes out of base64", mixed(hidden, plain+"second"), "", 1, []string{"<p>first</p>\r\n--BB--\r\n", "second"}},
	} {
		var r recorder
		f := serve(t, "tcp", r.handle)
		s := newScanner(t, Config{Addresses: []string{f.addr}, Raw: tt.setting})
		m := parse(t, tt.raw)
		if findings, err := scanAll(t, s, m); scannertest.Outcome(findings, err) != "clean" {
			t.Errorf("%s: got %v, %v, want clean", tt.name, findings, err)
		}
		isWhole := func(s string) bool { return strings.HasPrefix(s, mailMark) }
		alone := slices.DeleteFunc(slices.Clone(r.sent), isWhole)
		if whole := len(r.sent) - len(alone); whole != tt.whole {
			t.Errorf("%s: sent the message %d times, want %d: %.300q", tt.name, whole, tt.whole, r.sent)
		}
		slices.Sort(alone)
		slices.Sort(tt.alone)
		if !slices.Equal(alone, tt.alone) {
			t.Errorf("%s: sent alone %.300q, want %.300q", tt.name, alone, tt.alone)
		}
	}
}

// The skeleton follows one reading, so it may lack what only another one has.
func TestSendsTheTextOfAnotherReadingAlone(t *testing.T) {
	var r recorder
	f := serve(t, "tcp", r.handle)
	s := newScanner(t, Config{Addresses: []string{f.addr}})
	m := parse(t, "Subject: s\r\n\r\nBAD\r\n")
	m.Root.Reading = "as some client does"
	if findings, err := s.Scan(t.Context(), m.Root); scannertest.Outcome(findings, err) != "clamd/malware" {
		t.Errorf("got %v, %v, want clamd/malware", findings, err)
	}
}

// Whatever is not sent alone is in the skeleton, and only there.
func TestSkeletonHoldsTheTextAndNotTheFiles(t *testing.T) {
	var r recorder
	f := serve(t, "tcp", r.handle)
	s := newScanner(t, Config{Addresses: []string{f.addr}})
	file := strings.Repeat("\x00\x01\x02binary", 1000)
	m := parse(t, mixed(encoded("Content-Type: text/html\r\n", "<p>in base64</p>"), encoded("Content-Type: image/png; name=a.png\r\n", file)))
	if findings, err := s.ScanMessage(t.Context(), m); scannertest.Outcome(findings, err) != "clean" {
		t.Fatalf("got %v, %v, want clean", findings, err)
	}
	if len(r.sent) != 1 {
		t.Fatalf("sent %d times, want once: %.300q", len(r.sent), r.sent)
	}
	for _, want := range []string{"X-Mailer: x\r\n", "<p>in base64</p>", "name=a.png", end} {
		if !strings.Contains(r.sent[0], want) {
			t.Errorf("the skeleton lacks %q: %.500q", want, r.sent[0])
		}
	}
	if len(r.sent[0]) > 1000 {
		t.Errorf("the skeleton has %d bytes, so it holds the file", len(r.sent[0]))
	}
}

func TestReportsOnceWhatSkeletonAndRawBothHold(t *testing.T) {
	var r recorder
	f := serve(t, "tcp", r.handle)
	s := newScanner(t, Config{Addresses: []string{f.addr}, Raw: rawAlways})
	m := parse(t, "Subject: BAD\r\n\r\nhello\r\n")
	findings, err := s.ScanMessage(t.Context(), m)
	if got := scannertest.Outcome(findings, err); got != "clamd/malware" || len(r.sent) != 2 || findings[0].Part != m.Root {
		t.Errorf("got %s (%v) of %d scans, want one finding at the root of two", got, err, len(r.sent))
	}
}

func TestMessageBeyondStreamMaxIsNotClean(t *testing.T) {
	f := serve(t, "tcp", answering("stream: OK\x00"))
	s := newScanner(t, Config{Addresses: []string{f.addr}, StreamMax: 1000})
	m := parse(t, "Subject: s\r\n\r\n"+strings.Repeat("hello\r\n", 200))
	findings, err := s.ScanMessage(t.Context(), m)
	if got := scannertest.Outcome(findings, err); got != "clamd/limit unexamined" || f.conns.Load() != 0 {
		t.Errorf("got %s (%v), want clamd/limit unexamined without asking", got, err)
	}
}

func TestFailureOfOneScanDoesNotHideAnother(t *testing.T) {
	var mu sync.Mutex
	n := 0
	f := serve(t, "tcp", func(conn net.Conn) {
		mu.Lock()
		n++
		reply := "stream: Bad FOUND\x00"
		if n == 2 {
			reply = "stream: Can't allocate memory ERROR\x00"
		}
		mu.Unlock()
		answering(reply)(conn)
	})
	s := newScanner(t, Config{Addresses: []string{f.addr}, Raw: rawAlways})
	findings, err := s.ScanMessage(t.Context(), parse(t, "Subject: s\r\n\r\nhello\r\n"))
	if len(findings) != 1 || scannertest.Outcome(nil, err) != "temporary" {
		t.Errorf("got %v, %v, want the finding and the error", findings, err)
	}
}
