package cache

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"rastel/scanners/scannertest"
)

const testSecret = "a secret of at least thirty-two characters"

func writeFile(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// sharing makes a cache beside a server at addr, with what it logs.
func sharing(t testing.TB, addr, secret string) (*Cache, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	c, err := New(Config{Shared: &SharedConfig{Address: addr, KeyFile: writeFile(t, "key", secret), Timeout: time.Second}}, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, &log
}

// A redis is a real server of our own, which keeps nothing on the disk.
type redis struct {
	addr string
	dir  string
	proc *os.Process
	done chan struct{}
}

func startRedis(t *testing.T, options ...string) *redis {
	t.Helper()
	if os.Getenv("RASTEL_E2E") == "" {
		t.Skip("needs redis-server: run contrib/test, or set RASTEL_E2E=1")
	}
	dir, err := os.MkdirTemp("", "redis") // short enough for the path of a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	r := &redis{addr: "unix:" + filepath.Join(dir, "s"), dir: dir}
	r.start(t, options...)
	t.Cleanup(r.kill)
	return r
}

func (r *redis) start(t *testing.T, options ...string) {
	t.Helper()
	cmd := exec.Command("redis-server", append([]string{"--port", "0", "--unixsocket", filepath.Join(r.dir, "s"), "--save", "", "--appendonly", "no", "--dir", r.dir}, options...)...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.proc, r.done = cmd.Process, make(chan struct{})
	go func() { cmd.Wait(); close(r.done) }()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := net.Dial("unix", filepath.Join(r.dir, "s"))
		if err == nil {
			conn.Close()
			return
		}
		select {
		case <-tick.C:
		case <-r.done:
			t.Fatal("redis-server ended")
		case <-ctx.Done():
			t.Fatal(err)
		}
	}
}

func (r *redis) kill() {
	r.proc.Kill()
	<-r.done
}

// ask sends it a command as redis-cli would, and gives the first line of the reply.
func (r *redis) ask(t *testing.T, words ...string) string {
	t.Helper()
	nc, err := net.Dial("unix", filepath.Join(r.dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	c := &conn{nc, bufio.NewReader(nc)}
	if err := c.send(words...); err != nil {
		t.Fatal(err)
	}
	line, err := c.r.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

func TestFiltersShareVerdicts(t *testing.T) {
	r := startRedis(t)
	one, two := newFake(), newFake()
	c1, log1 := sharing(t, r.addr, testSecret)
	c2, log2 := sharing(t, r.addr, testSecret)
	s1, s2 := c1.Wrap("fake", one, nil), c2.Wrap("fake", two, nil)
	expect(t, s1, one, part(t, "good"), 0, 1)
	expect(t, s1, one, part(t, "bad"), 1, 1+1)
	expect(t, s2, two, part(t, "good"), 0, 0)
	expect(t, s2, two, part(t, "bad"), 1, 0)
	if st := c2.Stats(); st.Shared != 2 || st.Entries != 2 {
		t.Errorf("%+v", st)
	}
	two.is("v2")
	expect(t, s2, two, part(t, "bad"), 1, 1)

	// A filter with another secret has nothing in common with them.
	three := newFake()
	c3, log3 := sharing(t, r.addr, strings.ToUpper(testSecret))
	expect(t, c3.Wrap("fake", three, nil), three, part(t, "bad"), 1, 1)
	if log := log1.String() + log2.String() + log3.String(); log != "" {
		t.Errorf("logged: %s", log)
	}

	// What is to be forgotten is not taken from there either.
	c2.Forget()
	two.is("v1")
	expect(t, s2, two, part(t, "bad"), 1, 2)
}

// Whoever can write to the server is not believed: not what it makes up, not what it moves.
func TestForgedVerdictsAreNothing(t *testing.T) {
	r := startRedis(t)
	writer, log := sharing(t, r.addr, testSecret)
	good, bad := part(t, "good"), part(t, "bad")
	f := newFake()
	expect(t, writer.Wrap("fake", f, nil), f, good, 0, 1)
	stored := string(func() []byte {
		v, err := writer.shared.client.get(t.Context(), writer.shared.name(keyOf("fake", "v1", good)))
		if err != nil || v == nil {
			t.Fatal(v, err)
		}
		return v
	}())
	name := writer.shared.name(keyOf("fake", "v1", bad))
	for what, value := range map[string]string{
		"the clean verdict of other content": stored, "nothing": "", "unsigned": `{"made":1,"found":null}`, "a wrong signature": strings.Repeat("x", 32) + stored[32:],
		"half of one": stored[:40], "a byte more": stored + " ", "much": strings.Repeat("x", maxValue+1),
	} {
		r.ask(t, "SET", name, value)
		f := newFake()
		c, _ := sharing(t, r.addr, testSecret)
		expect(t, c.Wrap("fake", f, nil), f, bad, 1, 1)
		if st := c.Stats(); st.Shared != 0 {
			t.Errorf("%s: taken", what)
		}
		r.ask(t, "DEL", name)
	}
	r.ask(t, "LPUSH", name, "x") // not even a string
	c, _ := sharing(t, r.addr, testSecret)
	f = newFake()
	expect(t, c.Wrap("fake", f, nil), f, bad, 1, 1)
	if log.Len() > 0 {
		t.Errorf("logged: %s", log)
	}
}

// Our own signature is no reason to believe everything.
func TestSignedNonsenseIsNothing(t *testing.T) {
	c, _ := sharing(t, "tcp:127.0.0.1:1", testSecret)
	var k key
	now := time.Now()
	made := now.UnixMilli()
	for _, data := range []string{
		"", "{}", "[]", "null", `{"made":0,"found":null}`, fmt.Sprintf(`{"made":%d,"found":null}`, now.Add(time.Hour).UnixMilli()),
		fmt.Sprintf(`{"made":%d,"found":null} {}`, made), fmt.Sprintf(`{"made":%d,"found":null,"fix":[]}`, made),
		fmt.Sprintf(`{"made":%d,"found":[{"check":1}]}`, made), fmt.Sprintf(`{"made":%d,"found":[%s{}]}`, made, strings.Repeat("{},", maxFound)),
		fmt.Sprintf(`{"made":%d,"found":[{"check":"fake/malware","detail":%q}]}`, made, strings.Repeat("AAAA", maxDetail)),
	} {
		if v, err := c.shared.open(k, append(c.shared.sign(k, []byte(data)), data...), now); err == nil {
			t.Errorf("%.80s: %+v", data, v)
		}
	}
	v := verdict{time.UnixMilli(made), []found{{"fake/malware", []byte("\xff\x00"), true}}}
	sealed, err := c.shared.seal(k, v)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.shared.open(k, sealed, now); err != nil || fmt.Sprint(got) != fmt.Sprint(v) {
		t.Errorf("got %v, %v; want %v", got, err, v)
	}
	for i := range sealed {
		forged := bytes.Clone(sealed)
		forged[i] ^= 1
		if _, err := c.shared.open(k, forged, now); err == nil {
			t.Errorf("byte %d changed, and nobody noticed", i)
		}
	}
	// A check that this engine does not have.
	f := newFake()
	w := c.Wrap("fake", f, nil).(*engine)
	c.shared.client = &client{network: "unix", host: "/nowhere", slots: make(chan struct{}, 1), idle: make(chan *conn, 1)}
	if _, ok := w.fetch(t.Context(), k); ok {
		t.Error("a verdict from nowhere")
	}
}

// TestMailDoesNotDependOnTheServer kills, stops and starts it in the middle of things.
func TestMailDoesNotDependOnTheServer(t *testing.T) {
	r := startRedis(t)
	f := newFake()
	c, log := sharing(t, r.addr, testSecret)
	c.shared.timeout = 50 * time.Millisecond
	s := c.Wrap("fake", f, nil)
	n := 0
	scan := func(times int) {
		t.Helper()
		for range times {
			n++
			expect(t, s, f, part(t, fmt.Sprintf("bad %d", n)), 1, n)
		}
	}
	scan(2)
	r.kill()
	scan(10)
	if c.Stats().Trouble == "" || strings.Count(log.String(), "not used for now") != 1 {
		t.Errorf("a dead server: %+v, %s", c.Stats(), log)
	}
	r.start(t)
	scan(2)
	c.shared.breaker.until = time.Now() // as if it had passed
	scan(2)
	if c.Stats().Trouble != "" || strings.Count(log.String(), "used again") != 1 {
		t.Errorf("a server that is back: %+v, %s", c.Stats(), log)
	}
	r.proc.Signal(syscall.SIGSTOP)
	scan(10)
	r.proc.Signal(syscall.SIGCONT)
	if c.Stats().Trouble == "" {
		t.Error("a stopped server is no trouble")
	}
	c.shared.breaker.until = time.Now()
	scan(2)
	if c.Stats().Trouble != "" {
		t.Errorf("a server that goes on: %+v", c.Stats())
	}
	r.kill() // and at once back again: used connections are closed, which is no failure
	r.start(t)
	scan(2)
	if c.Stats().Trouble != "" {
		t.Errorf("a server that was restarted: %+v", c.Stats())
	}
}

func TestLogsInToTheServer(t *testing.T) {
	r := startRedis(t, "--requirepass", "open sesame")
	cfg := SharedConfig{Address: r.addr, KeyFile: writeFile(t, "key", testSecret), PasswordFile: writeFile(t, "password", "open sesame\n"), Database: 3, Timeout: time.Second}
	for range 2 {
		c, err := New(Config{Shared: &cfg}, nil)
		if err != nil {
			t.Fatal(err)
		}
		f := newFake()
		expect(t, c.Wrap("fake", f, nil), f, part(t, "good"), 0, 1)
		_, err = c.shared.client.get(t.Context(), "x")
		if (err == nil) != (cfg.PasswordFile != "") {
			t.Errorf("with %q: %v", cfg.PasswordFile, err)
		}
		c.Close()
		cfg.PasswordFile = ""
		r.ask(t, "AUTH", "open sesame")
	}
}

// liar is a server that answers everything with the same.
func liar(t *testing.T, reply string) string {
	t.Helper()
	return "tcp:" + scannertest.Serve(t, "tcp", "127.0.0.1:0", func(conn net.Conn) {
		for b := make([]byte, 4096); ; {
			if _, err := conn.Read(b); err != nil {
				return
			}
			if _, err := io.WriteString(conn, reply); err != nil {
				return
			}
		}
	})
}

func TestLiesAreNotBelieved(t *testing.T) {
	for _, reply := range []string{
		"+OK\r\n", "+OK\r\n+OK\r\n", "$-1\r\n$-1\r\n", "$1\r\nx\r\n", "$1\r\nxyz\r\n", "$0\r\n\r\n", "$-5\r\n", "$99999999999999999999\r\n", "$4294967295\r\n", "$65537\r\n",
		"$5\r\nx", "*1\r\n$1\r\nx\r\n", ":1\r\n", "-ERR no\r\n", "-LOADING\r\n", "\r\n", "\n", "$\r\n", "$ 1\r\nx\r\n", "$+1\r\nx\r\n", strings.Repeat("x", 10_000), "_\r\n", "HTTP/1.1 400 Bad Request\r\n\r\n", "$32\r\n" + strings.Repeat("\x00", 32) + "\r\n", "",
	} {
		c, _ := sharing(t, liar(t, reply), testSecret)
		c.shared.timeout = 30 * time.Millisecond
		f := newFake()
		s := c.Wrap("fake", f, nil)
		for n := range 6 {
			expect(t, s, f, part(t, fmt.Sprintf("bad %d", n)), 1, n+1)
		}
		// A server that takes everything and has nothing is a working one.
		if st := c.Stats(); st.Shared != 0 || (st.Trouble == "") != (reply == "+OK\r\n") {
			t.Errorf("%.40q: %+v", reply, st)
		}
		c.Close()
	}
}

func TestTheBreakerLetsOneTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b breaker
		down := fmt.Errorf("down")
		for i := range breakAfter {
			if !b.allows(time.Now()) {
				t.Fatalf("broken after %d failures", i)
			}
			if changed := b.note(down, time.Now()); changed != (i == breakAfter-1) {
				t.Errorf("failure %d: changed %v", i, changed)
			}
		}
		if b.allows(time.Now()) {
			t.Error("not broken")
		}
		time.Sleep(breakTime)
		if !b.allows(time.Now()) || b.allows(time.Now()) {
			t.Error("want one try")
		}
		b.unknown()
		if !b.allows(time.Now()) {
			t.Error("a try that was given up is the last")
		}
		if b.note(down, time.Now()) || b.allows(time.Now()) {
			t.Error("a try that failed mends it")
		}
		time.Sleep(breakTime)
		if !b.allows(time.Now()) || !b.note(nil, time.Now()) || !b.allows(time.Now()) || !b.allows(time.Now()) {
			t.Error("not mended")
		}
	})
}

func TestKeyFile(t *testing.T) {
	for name, secret := range map[string]string{"short": "x", "empty": "", "two lines": testSecret + "\n" + testSecret} {
		_, err := New(Config{Shared: &SharedConfig{Address: "tcp:127.0.0.1:1", KeyFile: writeFile(t, "key", secret)}}, nil)
		if err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	open := writeFile(t, "key", testSecret)
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{open, filepath.Join(t.TempDir(), "missing"), t.TempDir()} {
		if _, err := New(Config{Shared: &SharedConfig{Address: "tcp:127.0.0.1:1", KeyFile: name}}, nil); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
