package clamd

import (
	"context"
	"io"
	"net"
	"testing"
	"time"
)

// about answers a command that the library sends, which ends in a line break.
func about(reply string) func(net.Conn) {
	return func(conn net.Conn) {
		b := make([]byte, 1)
		for b[0] != '\n' {
			if _, err := conn.Read(b); err != nil {
				return
			}
		}
		io.WriteString(conn, reply)
	}
}

func TestVersionTakesOnlyAVersion(t *testing.T) {
	for _, tt := range []struct{ reply, engine, database string }{
		{"ClamAV 1.4.6\n", "1.4.6", ""},
		{"ClamAV 1.4.6/27500/Mon Nov 23 10:00:00 2026\n", "1.4.6", "27500/Mon Nov 23 10:00:00 2026"},
		{"", "", ""},
		{"PONG\n", "", ""},
		{"ClamAV 1.4.6\nand more\n", "", ""},
		{"ClamAV 1.4.6 ERROR\n", "", ""},
	} {
		f := serve(t, "unix", about(tt.reply))
		engine, database, err := newScanner(t, Config{Addresses: []string{f.addr}}).Version(t.Context())
		if engine != tt.engine || database != tt.database || (err == nil) != (tt.engine != "") {
			t.Errorf("%q: got %q, %q, %v, want %q, %q", tt.reply, engine, database, err, tt.engine, tt.database)
		}
	}
}

func TestPingTakesOnlyPong(t *testing.T) {
	for reply, want := range map[string]bool{"PONG\n": true, "": false, "\n": false, "PONG PONG\n": false, "stream: OK\n": false} {
		f := serve(t, "tcp", about(reply))
		if err := newScanner(t, Config{Addresses: []string{f.addr}}).Ping(t.Context()); (err == nil) != want {
			t.Errorf("%q: got %v, want success %v", reply, err, want)
		}
	}
}

func TestPingEndsThoughNobodyAnswers(t *testing.T) {
	f := serve(t, "unix", hold)
	s := newScanner(t, Config{Addresses: []string{f.addr}})
	start := time.Now()
	if err := s.Ping(t.Context()); err == nil || time.Since(start) > statusTimeout+30*time.Second {
		t.Errorf("got %v after %v, want an error after %v", err, time.Since(start), statusTimeout)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Ping(ctx); err == nil {
		t.Error("Ping succeeded after its context had ended")
	}
}

func TestDiscoversNothingWhereNothingIs(t *testing.T) {
	f := serve(t, "unix", about("nonsense\n"))
	if got, ok := discover(t.Context(), []string{"unix:/nowhere/at/all", "bad", f.addr}); ok {
		t.Errorf("discovered %q", got)
	}
}
