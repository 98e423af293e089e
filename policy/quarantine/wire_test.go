package quarantine_test

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"rastel/policy/quarantine"
)

// A wire is an SMTP server that keeps commands and message exactly as they came, with the
// strict reading of RFC 5321: lines end with CRLF and nothing else. The server of go-smtp
// takes the quotes off local parts, and does not see the line end in CR CR LF.
type wire struct {
	addr    string
	onData  func(commands []string, raw string)
	mu      sync.Mutex
	command []string // those of the last message, in order
	raw     string   // the last message, without its dots
}

func startWire(t *testing.T) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{addr: l.Addr().String()}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { defer c.Close(); w.serve(c) })
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return w
}

func (w *wire) serve(c net.Conn) {
	r := bufio.NewReader(c)
	say := func(s string) { _, _ = io.WriteString(c, s+"\r\n") }
	say("220 wire")
	var commands []string
	for {
		line, err := until(r, "\r\n")
		if err != nil {
			return
		}
		commands = append(commands, line)
		switch {
		case strings.HasPrefix(line, "EHLO"):
			say("250-wire\r\n250-8BITMIME\r\n250-SIZE\r\n250 SMTPUTF8")
		case line == "DATA":
			say("354 go on")
			if !w.data(r, commands) {
				return
			}
			commands = nil
			say("250 taken")
		case line == "QUIT":
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}

func (w *wire) data(r *bufio.Reader, commands []string) bool {
	raw, err := until(r, "\r\n.\r\n")
	if err != nil {
		return false
	}
	raw = strings.ReplaceAll("\r\n"+raw+"\r\n", "\r\n.", "\r\n")[2:]
	w.mu.Lock()
	w.command, w.raw = slices.Clone(commands), raw
	w.mu.Unlock()
	if w.onData != nil {
		w.onData(commands, raw)
	}
	return true
}

// until reads up to and over the end, and returns what is before it.
func until(r *bufio.Reader, end string) (string, error) {
	var b bytes.Buffer
	for {
		c, err := r.ReadByte()
		if err != nil {
			return "", err
		}
		b.WriteByte(c)
		if c == '\n' && bytes.HasSuffix(b.Bytes(), []byte(end)) {
			return b.String()[:b.Len()-len(end)], nil
		}
	}
}

// last is the last message and the commands before it.
func (w *wire) last() (commands []string, raw string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.command, w.raw
}

// splitToken takes the token off a released message.
func splitToken(t *testing.T, released string) (token, raw string) {
	t.Helper()
	field, raw, ok := strings.Cut(released, "\r\n")
	token, found := strings.CutPrefix(field, quarantine.TokenField+": ")
	if !ok || !found {
		t.Fatalf("released message begins with %.200q, want a field %s", released, quarantine.TokenField)
	}
	return token, raw
}
