package milter

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"go.uber.org/goleak"

	"rastel/policy"
	"rastel/sanitize/eml"
)

func TestServesManyBusySessions(t *testing.T) {
	const sessions, messages = 32, 20
	j := JudgeFunc(func(_ context.Context, env *eml.Envelope, s *eml.Spool) (*policy.Verdict, error) {
		if _, err := s.NewReader().Read(make([]byte, 1)); err != nil {
			return nil, err
		}
		if strings.HasPrefix(env.Sender, "bad") {
			return &policy.Verdict{Action: policy.Reject}, nil
		}
		return &policy.Verdict{Action: policy.Accept}, nil
	})
	r := startTCP(t, Config{}, j)
	var wg sync.WaitGroup
	for i := range sessions {
		m := r.mta()
		m.sendmail = i%2 == 0
		wg.Go(func() {
			m.hello()
			for k := range messages {
				x, want := first, byte('a')
				if (i+k)%3 == 0 {
					x.sender, want = "bad@x.example", 'y'
				}
				if _, final := m.deliver(x); final.code != want {
					t.Errorf("session %d, message %d: got %v, want %q", i, k, final, want)
				}
			}
		})
	}
	wg.Wait()
}

const (
	maxIdleMemory = 32 << 10 // what an idle connection may cost, its goroutine included
	maxBusyMemory = 1 << 20  // what one may cost that has sent a message which is being judged
)

// TestMemoryOfConnections has 1,000 idle connections, and 32 beside them with a large message
// each, all of them in the middle of their verdict.
func TestMemoryOfConnections(t *testing.T) {
	const idle, busy = 1000, 32
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || limit.Cur < 2*(idle+busy)+100 {
		t.Skipf("needs %d open files, the limit is %d", 2*(idle+busy)+100, limit.Cur)
	}
	arrived, goOn := make(chan bool, busy), make(chan bool)
	release := sync.OnceFunc(func() { close(goOn) })
	defer release()
	forgetful := JudgeFunc(func(_ context.Context, e *eml.Envelope, s *eml.Spool) (*policy.Verdict, error) {
		_, err := io.Copy(io.Discard, s.NewReader())
		if e.Sender == "busy@x.example" {
			arrived <- true
			<-goOn
		}
		return &policy.Verdict{Action: policy.Accept}, err
	})
	r := startTCP(t, Config{}, forgetful)
	warm := r.mta()
	warm.hello()
	warm.deliver(first)
	before := liveMemory()
	for i := range idle {
		m := r.mta()
		m.hello()
		if i%2 == 0 { // one that has worked costs no more
			x := first
			x.body = strings.Repeat("x", 200_000)
			m.deliver(x)
		}
		m.r = nil // the client's own
	}
	withIdle := liveMemory()
	each := (int64(withIdle) - int64(before)) / idle
	if each > maxIdleMemory {
		t.Errorf("an idle connection takes %d bytes, want at most %d", each, maxIdleMemory)
	}
	large := first
	large.sender, large.body = "busy@x.example", strings.Repeat("0123456789abcdef0123456789abcdef0123456789abcdef0123456789\r\n", 100_000)
	var wg sync.WaitGroup
	for range busy {
		m := r.mta()
		wg.Go(func() {
			m.hello()
			if _, final := m.deliver(large); final.code != 'a' {
				t.Errorf("large message: %v", final)
			}
			m.deliver(first) // and on with the session
		})
	}
	for range busy {
		select {
		case <-arrived:
		case <-time.After(3 * replyTime):
			t.Fatal("a large message did not arrive")
		}
	}
	eachBusy := (int64(liveMemory()) - int64(withIdle)) / busy
	if eachBusy > maxBusyMemory {
		t.Errorf("a connection with a message of %d bytes takes %d bytes, want at most %d", len(large.body), eachBusy, maxBusyMemory)
	}
	release()
	wg.Wait()
	t.Logf("an idle connection takes %d bytes, one with a message of %d bytes takes %d", each, len(large.body), eachBusy)
}

func TestShutdownLeavesNothing(t *testing.T) {
	before := goleak.IgnoreCurrent()
	srv, err := New(Options{Judge: accept(), Config: Config{Listen: []string{"127.0.0.1:1"}}, Listeners: []net.Listener{mustListen(t)}})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- srv.Serve() }()
	for range 50 {
		c, err := net.Dial("tcp", srv.Addrs()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		m := &mta{t: t, c: c, r: bufio.NewReader(c)}
		m.hello()
		m.deliver(first)
		m.ask('M', "<a@x.example>")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := srv.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown with envelopes open: %v, want the error of ctx", err)
	}
	if err := <-done; err != nil {
		t.Errorf("Serve: %v, want nil after Shutdown", err)
	}
	if _, err := net.Dial("tcp", srv.Addrs()[0].String()); err == nil {
		t.Error("the socket is still open")
	}
	if err := srv.Serve(); err != nil {
		t.Errorf("Serve after Shutdown: %v", err)
	}
	goleak.VerifyNone(t, before)
}

func mustListen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestALostListenerEndsServe(t *testing.T) {
	a, b := newPipeListener(), newPipeListener()
	srv, err := New(Options{Judge: accept(), Listeners: []net.Listener{a, b}})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- srv.Serve() }()
	a.Close()
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve: %v, want that the listener was closed", err)
	}
	if err := srv.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestPeersOfOtherHostsNeedAllowance(t *testing.T) {
	allow, err := parseAllow([]string{"192.0.2.0/28", "2001:db8::1", "::ffff:198.51.100.1", "203.0.113.77/24"})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		peer string
		want bool
	}{
		{"127.0.0.1", true}, {"127.8.8.8", true}, {"::1", true}, {"::ffff:127.0.0.1", true},
		{"192.0.2.15", true}, {"::ffff:192.0.2.1", true}, {"192.0.2.16", false},
		{"2001:db8::1", true}, {"2001:db8::2", false}, {"198.51.100.1", true}, {"203.0.113.1", true},
		{"0.0.0.0", false}, {"fe80::1%eth0", false}, {"10.0.0.1", false},
	} {
		peer := net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(tt.peer), 1000))
		if got := allowed(peer, allow); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.peer, got, tt.want)
		}
	}
	if !allowed(&net.UnixAddr{}, nil) {
		t.Error("a peer on a unix socket is refused")
	}
}

// A foreignListener gives connections that seem to come from another host.
type foreignListener struct{ net.Listener }

type foreignConn struct{ net.Conn }

func (foreignConn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 99), Port: 1} }

func (l foreignListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return foreignConn{c}, err
}

func TestClosesConnectionsOfOtherHosts(t *testing.T) {
	l := newPipeListener()
	r := serve(t, Options{Judge: accept(), Listeners: []net.Listener{foreignListener{l}}})
	r.dial = func() net.Conn { return l.dial(t) }
	r.mta().closed("a connection from another host")
	if !strings.Contains(r.log.String(), "192.0.2.99") {
		t.Errorf("the log does not tell: %s", r.log)
	}
}

func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "milter.sock")
	stale, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	stale.(*net.UnixListener).SetUnlinkOnClose(false)
	stale.Close() // as a process leaves it that was killed

	cfg := Config{Listen: []string{"unix:" + path}, SocketMode: 0o622, SocketOwner: fmt.Sprint(os.Geteuid()), SocketGroup: fmt.Sprint(os.Getegid())}
	r := serve(t, Options{Config: cfg, Judge: accept()})
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o622 {
		t.Errorf("got %v, %v; want mode 0622", st.Mode(), err)
	}
	r.dial = func() net.Conn {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	m := r.mta()
	m.hello()
	if _, final := m.deliver(first); final.code != 'a' {
		t.Errorf("got %v, want accept", final)
	}

	second, err := New(Options{Config: cfg, Judge: accept()})
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Listen(); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("a second server on the socket: %v", err)
	}
	if err := r.srv.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after Shutdown the socket is still there: %v", err)
	}
}

func TestListenErrorsSayWhat(t *testing.T) {
	used := mustListen(t)
	defer used.Close()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	sock := "unix:" + filepath.Join(dir, "s")
	for _, tt := range []struct {
		cfg  Config
		want string
	}{
		{Config{Listen: []string{used.Addr().String()}}, "address already in use"},
		{Config{Listen: []string{"inet:127.0.0.1:0", used.Addr().String()}}, "address already in use"},
		{Config{Listen: []string{"unix:" + file}}, "no socket"},
		{Config{Listen: []string{"unix:" + dir + "/none/s"}}, "no such file"},
		{Config{Listen: []string{sock}, SocketOwner: "no-such-user"}, "no-such-user"},
		{Config{Listen: []string{sock}, SocketGroup: "no-such-group"}, "no-such-group"},
	} {
		srv, err := New(Options{Config: tt.cfg, Judge: accept()})
		if err != nil {
			t.Fatal(err)
		}
		if err := srv.Listen(); err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v: got %v, want one line with %q", tt.cfg.Listen, err, tt.want)
		}
		if n := len(srv.Addrs()); n != 0 {
			t.Errorf("%v: %d sockets are open", tt.cfg.Listen, n)
		}
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != "x" {
		t.Errorf("the file in the way is %q, %v", data, err)
	}
}

// TestUsesTheSocketOfSystemd runs this test in a process of its own that is given sockets, as
// systemd does it (sd_listen_fds(3)).
func TestUsesTheSocketOfSystemd(t *testing.T) {
	if os.Getenv("LISTEN_PID") != "" {
		serveActivated()
		return
	}
	l, other := mustListen(t).(*net.TCPListener), mustListen(t).(*net.TCPListener)
	defer l.Close()
	defer other.Close()
	f, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	g, err := other.File()
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	cmd := exec.Command("sh", "-c", `LISTEN_PID=$$ exec "$0" -test.run '^TestUsesTheSocketOfSystemd$'`, os.Args[0])
	cmd.Env = append(os.Environ(), "LISTEN_FDS=2", "LISTEN_FDNAMES=other:milter")
	cmd.ExtraFiles = []*os.File{g, f}
	out, err := cmd.CombinedOutput()
	if want := fmt.Sprintf("serving [%v]\n", l.Addr()); err != nil || !strings.HasPrefix(string(out), want) {
		t.Errorf("got %q, %v; want %q", out, err, want)
	}
}

func serveActivated() {
	srv, err := New(Options{Judge: accept(), Config: Config{Listen: []string{"inet:127.0.0.1:0"}}})
	if err == nil {
		err = srv.Listen()
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("serving %v\n", srv.Addrs())
	_ = srv.Shutdown(context.Background()) // only there to close the socket
}

func TestValidateNamesTheKey(t *testing.T) {
	for _, tt := range []struct {
		cfg  Config
		want string // empty: valid
	}{
		{Config{}, ""},
		{Config{Listen: []string{"inet:127.0.0.1:6785", "unix:/run/rastel/milter.sock", "[::1]:6785", ":6785", "inet:localhost:0"}}, ""},
		{Config{Listen: []string{"unix:relative"}}, "milter.listen"},
		{Config{Listen: []string{"127.0.0.1"}}, "milter.listen"},
		{Config{Listen: []string{"127.0.0.1:99999"}}, "milter.listen"},
		{Config{Listen: []string{"127.0.0.1:smtp"}}, "milter.listen"},
		{Config{Listen: []string{"127.0.0.1:0"}}, "milter.listen"},
		{Config{Listen: []string{""}}, "milter.listen"},
		{Config{Allow: []string{"192.0.2.1", "192.0.2.0/24", "2001:db8::/32"}}, ""},
		{Config{Allow: []string{"mx.example"}}, "milter.allow"},
		{Config{Allow: []string{"192.0.2.0/33"}}, "milter.allow"},
		{Config{SocketMode: 0o660}, ""},
		{Config{SocketMode: 0o4777}, "milter.socket_mode"},
		{Config{MaxConnections: -1}, "milter.max_connections"},
		{Config{MaxMessageSize: -1}, "milter.max_message_size"},
		{Config{IdleTimeout: -1}, "milter.idle_timeout"},
		{Config{FrameTimeout: -1}, "milter.frame_timeout"},
		{Config{WriteTimeout: -1}, "milter.write_timeout"},
		{Config{VerdictTimeout: -1}, "milter.verdict_timeout"},
		{Config{ProgressInterval: -1}, "milter.progress_interval"},
	} {
		err := tt.cfg.Validate()
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: got %v, want %q", tt.cfg, err, tt.want)
		}
		if _, err := New(Options{Config: tt.cfg, Judge: accept()}); (err == nil) != (tt.want == "") {
			t.Errorf("New(%+v): got %v", tt.cfg, err)
		}
	}
	if _, err := New(Options{}); err == nil {
		t.Error("a server without a judge was made")
	}
}

func TestConfigIsReadFromYAML(t *testing.T) {
	const text = `
listen: [unix:/run/rastel/milter.sock, "127.0.0.1:6785"]
allow: [192.0.2.0/28]
socket_mode: 0620 # as people write it
socket_owner: root
socket_group: "102"
max_connections: 10
max_message_size: 1000000
idle_timeout: 1h
frame_timeout: 2s
write_timeout: 3s
verdict_timeout: 100s
progress_interval: 5s
`
	var c Config
	if err := yaml.UnmarshalWithOptions([]byte(text), &c, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	if c.SocketMode != 0o620 {
		t.Errorf("socket_mode is %o, want 620", c.SocketMode)
	}
	for text, want := range map[string]FileMode{`"0660"`: 0o660, `'600'`: 0o600, "0o622": 0o622, "666": 0o666, "rw": 0, "4777": 0, "0888": 0, "-1": 0, "[1]": 0, "0": 0} {
		var c Config
		err := yaml.UnmarshalWithOptions([]byte("socket_mode: "+text), &c, yaml.Strict())
		if (err == nil) != (want != 0) || c.SocketMode != want {
			t.Errorf("socket_mode %s: got %o, %v; want %o", text, c.SocketMode, err, want)
		}
	}
	if c.VerdictTimeout != 100*time.Second || c.MaxConnections != 10 || len(c.Listen) != 2 || c.SocketGroup != "102" {
		t.Errorf("got %+v", c)
	}
	if d := (Config{}).withDefaults(); d.VerdictTimeout != 240*time.Second || d.Listen[0] != "127.0.0.1:6785" || d.SocketMode != 0o660 {
		t.Errorf("the defaults are %+v", d)
	}
}
