package clamd

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// about answers a command without content.
func about(reply string) func(net.Conn) {
	return func(conn net.Conn) {
		if _, err := bufio.NewReader(conn).ReadString(0); err == nil {
			io.WriteString(conn, reply)
		}
	}
}

// at is the address of a fake.
func (f *fake) at(t *testing.T) address {
	t.Helper()
	a, err := parseAddress(f.addr)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestVersionTakesOnlyAVersion(t *testing.T) {
	for _, tt := range []struct{ reply, engine, database string }{
		{"ClamAV 1.4.6\x00", "1.4.6", ""},
		{"ClamAV 1.4.6/27500/Mon Nov 23 10:00:00 2026\x00", "1.4.6", "27500/Mon Nov 23 10:00:00 2026"},
		{"", "", ""},
		{"\x00", "", ""},
		{"PONG\x00", "", ""},
		{"ClamAV \x00", "", ""},
		{"ClamAV 1.4.6", "", ""},
		{"ClamAV 1.4.6\n", "", ""},
		{"ClamAV 1.4.6\nand more\x00", "", ""},
		{"ClamAV 1.4.6\x00ClamAV 1.4.6\x00", "", ""},
		{"ClamAV 1.4.6 ERROR\x00", "", ""},
		{"ClamAV 1.4.6" + strings.Repeat("x", 1<<20) + "\x00", "", ""},
	} {
		f := serve(t, "unix", about(tt.reply))
		engine, database, err := version(t.Context(), f.at(t))
		if engine != tt.engine || database != tt.database || (err == nil) != (tt.engine != "") {
			t.Errorf("%.40q: got %.40q, %.40q, %v, want %q, %q", tt.reply, engine, database, err, tt.engine, tt.database)
		}
	}
}

func TestPingTakesOnlyPong(t *testing.T) {
	for reply, want := range map[string]bool{
		"PONG\x00": true, "": false, "\x00": false, "PONG": false, "PONG\n": false, "PONG PONG\x00": false, "PONG\x00PONG\x00": false,
		"stream: OK\x00": false, strings.Repeat("PONG\n", 1<<18): false,
	} {
		f := serve(t, "tcp", about(reply))
		if err := ping(t.Context(), f.at(t)); (err == nil) != want {
			t.Errorf("%.40q: got %v, want success %v", reply, err, want)
		}
	}
}

func TestPingEndsThoughNobodyAnswers(t *testing.T) {
	f := serve(t, "unix", hold)
	start := time.Now()
	if err := ping(t.Context(), f.at(t)); err == nil || time.Since(start) > statusTimeout+30*time.Second {
		t.Errorf("got %v after %v, want an error after %v", err, time.Since(start), statusTimeout)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := ping(ctx, f.at(t)); err == nil {
		t.Error("ping succeeded after its context had ended")
	}
}

func TestDiscoversNothingWhereNothingIs(t *testing.T) {
	f := serve(t, "unix", about("nonsense\x00"))
	if got, ok := discover(t.Context(), []string{"unix:/nowhere/at/all", "bad", f.addr}); ok {
		t.Errorf("discovered %q", got)
	}
}
