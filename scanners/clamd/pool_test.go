package clamd

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rastel/scanners/scannertest"
)

// A puppet is a fake clamd that does as it is told, and can be told otherwise meanwhile.
type puppet struct {
	*fake
	version atomic.Value  // what it answers to VERSION, a string without NUL
	scan    atomic.Value  // what it does with content: a func(net.Conn)
	deaf    atomic.Bool   // answers nothing at all
	scans   atomic.Int32  // how many it was given
	heard   chan struct{} // closed when it is not deaf any more
}

const official = "ClamAV 1.4.6/27500/Mon Nov 23 10:00:00 2026"

func newPuppet(t *testing.T, network string) *puppet {
	t.Helper()
	p := &puppet{heard: make(chan struct{})}
	p.version.Store(official)
	p.says("stream: OK\x00")
	p.fake = serve(t, network, p.handle)
	return p
}

// says makes it answer all content so.
func (p *puppet) says(reply string) {
	p.does(func(conn net.Conn) { io.WriteString(conn, reply) })
}

func (p *puppet) does(f func(net.Conn)) { p.scan.Store(f) }

func (p *puppet) handle(conn net.Conn) {
	if p.deaf.Load() {
		wait := make(chan struct{})
		go func() { defer close(wait); hold(conn) }()
		select {
		case <-p.heard:
			conn.SetReadDeadline(time.Unix(1, 0))
			<-wait
			conn.SetReadDeadline(time.Time{})
		case <-wait:
			return
		}
	}
	r := bufio.NewReader(conn)
	cmd, err := r.ReadString(0)
	if err != nil {
		return
	}
	switch cmd {
	case "zPING\x00":
		io.WriteString(conn, "PONG\x00")
	case "zVERSION\x00":
		io.WriteString(conn, p.version.Load().(string)+"\x00")
	default:
		p.scans.Add(1)
		if receive(&rest{conn, io.MultiReader(strings.NewReader(cmd), r)}) == nil {
			p.scan.Load().(func(net.Conn))(conn)
		}
	}
}

// A rest is a connection of which something was read already.
type rest struct {
	net.Conn
	r io.Reader
}

func (c *rest) Read(p []byte) (int, error) { return c.r.Read(p) }

// watched is a scanner whose daemons are looked after for the time of the test.
func watched(t *testing.T, cfg Config) *Scanner {
	t.Helper()
	s := newScanner(t, cfg)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { s.Watch(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return s
}

func (s *Scanner) states() string {
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	var all []string
	for _, d := range s.pool.daemons {
		all = append(all, d.state.String())
	}
	return strings.Join(all, " ")
}

// await waits until the daemons are in these states.
func (s *Scanner) await(t *testing.T, want string) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	giveUp := time.After(time.Minute)
	for s.states() != want {
		select {
		case <-tick.C:
		case <-giveUp:
			t.Fatalf("daemons are %s, want %s", s.states(), want)
		}
	}
}

// Whatever a daemon says that is no verdict, another one is asked, and nobody a third time.
func TestAsksAnotherDaemonOnce(t *testing.T) {
	for _, tt := range replies {
		if tt.want != "temporary" {
			continue
		}
		bad, good, worse := newPuppet(t, "unix"), newPuppet(t, "tcp"), newPuppet(t, "unix")
		bad.says(tt.reply)
		worse.says(tt.reply)
		s := newScanner(t, Config{Addresses: []string{bad.addr, good.addr}})
		findings, err := s.Scan(t.Context(), file(t, "content"))
		if got := scannertest.Outcome(findings, err); got != "clean" || bad.scans.Load() != 1 || good.scans.Load() != 1 {
			t.Errorf("%.40q: got %s (%v) after %d and %d scans, want clean after 1 and 1", tt.reply, got, err, bad.scans.Load(), good.scans.Load())
		}
		s = newScanner(t, Config{Addresses: []string{bad.addr, worse.addr}})
		findings, err = s.Scan(t.Context(), file(t, "content"))
		if got := scannertest.Outcome(findings, err); got != "temporary" || bad.scans.Load() != 2 || worse.scans.Load() != 1 {
			t.Errorf("%.40q: got %s (%v) after %d and %d scans, want temporary after 2 and 1", tt.reply, got, err, bad.scans.Load(), worse.scans.Load())
		}
	}
}

// What is known of the content is not asked again.
func TestAsksNoOtherDaemonAboutAVerdict(t *testing.T) {
	for _, tt := range replies {
		if tt.want == "temporary" {
			continue
		}
		a, b := newPuppet(t, "unix"), newPuppet(t, "unix")
		a.says(tt.reply)
		b.says(tt.reply)
		s := newScanner(t, Config{Addresses: []string{a.addr, b.addr}})
		findings, err := s.Scan(t.Context(), file(t, "content"))
		if got := scannertest.Outcome(findings, err); got != tt.want || a.scans.Load()+b.scans.Load() != 1 {
			t.Errorf("%.40q: got %s (%v) after %d scans, want %s after one", tt.reply, got, err, a.scans.Load()+b.scans.Load(), tt.want)
		}
	}
}

func TestGivesNoMoreToADaemonWhoseScansFail(t *testing.T) {
	bad, good := newPuppet(t, "unix"), newPuppet(t, "unix")
	bad.says("nonsense")
	s := watched(t, Config{Addresses: []string{bad.addr, good.addr}})
	for range 20 {
		if findings, err := s.Scan(t.Context(), file(t, "content")); scannertest.Outcome(findings, err) != "clean" {
			t.Fatalf("got %v, %v, want clean", findings, err)
		}
	}
	if n := bad.scans.Load(); n > maxFailures+2 { // by now it may have been tried again
		t.Errorf("it was given %d scans, want about %d", n, maxFailures)
	}
	bad.says("stream: OK\x00")
	s.await(t, "up up") // it answers, so it is tried again after a time
}

// A daemon that hangs has taken the scan. Another one gets it as soon as that is noticed.
func TestMovesAScanAwayFromADaemonThatHangs(t *testing.T) {
	hung, good := newPuppet(t, "unix"), newPuppet(t, "tcp")
	s := watched(t, Config{Addresses: []string{hung.addr, good.addr}})
	s.await(t, "up up")
	hung.deaf.Store(true)
	for range 4 { // some of them go to the one that hangs
		if findings, err := s.Scan(t.Context(), file(t, "content")); scannertest.Outcome(findings, err) != "clean" {
			t.Fatalf("got %v, %v, want clean", findings, err)
		}
	}
	s.await(t, "silent up")
	hung.deaf.Store(false)
	close(hung.heard)
	s.await(t, "up up")
}

// clamd answers nothing while it loads its database, if it was told not to do both at a time.
func TestWaitsForTheOnlyDaemonWhileItIsSilent(t *testing.T) {
	p := newPuppet(t, "unix")
	s := watched(t, Config{Addresses: []string{p.addr}})
	s.await(t, "up")
	p.deaf.Store(true)
	s.await(t, "silent")
	got := make(chan string)
	for range 3 {
		go func() { got <- scannertest.Outcome(s.Scan(t.Context(), file(t, "content"))) }()
	}
	p.deaf.Store(false)
	close(p.heard)
	for range 3 {
		if g := <-got; g != "clean" {
			t.Errorf("got %s, want clean", g)
		}
	}
}

func TestDoesNotWaitForASilentDaemonForEver(t *testing.T) {
	p := newPuppet(t, "unix")
	p.deaf.Store(true)
	s := newScanner(t, Config{Addresses: []string{p.addr}})
	s.pool.probeAll(t.Context())
	s.pool.daemons[0].since = time.Now().Add(-silenceTime)
	if got := scannertest.Outcome(s.Scan(t.Context(), file(t, "content"))); got != "temporary" || p.scans.Load() != 0 {
		t.Errorf("got %s after %d scans, want temporary without any", got, p.scans.Load())
	}
}

// The message that comes when clamd is back must not be told that it is not.
func TestAsksWhetherADaemonIsBack(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := ln.Addr().String()
	ln.Close()
	s := newScanner(t, Config{Addresses: []string{"tcp:" + at}})
	if got := scannertest.Outcome(s.Scan(t.Context(), file(t, "content"))); got != "temporary" {
		t.Fatalf("got %s where nobody listens, want temporary", got)
	}
	p := &puppet{}
	p.version.Store(official)
	p.says("stream: OK\x00")
	scannertest.Serve(t, "tcp", at, p.handle)
	if got := scannertest.Outcome(s.Scan(t.Context(), file(t, "content"))); got != "clean" {
		t.Errorf("got %s when it is back, want clean", got)
	}
}

// A daemon that answers, but takes long over its scans, holds up none of them for long.
func TestAsksAnotherDaemonWhenOneIsSlow(t *testing.T) {
	slow, good := newPuppet(t, "unix"), newPuppet(t, "unix")
	slow.does(hold)
	s := newScanner(t, Config{Addresses: []string{slow.addr, good.addr}})
	s.pool.hedge = 20 * time.Millisecond
	for range 10 {
		if findings, err := s.Scan(t.Context(), file(t, "content")); scannertest.Outcome(findings, err) != "clean" {
			t.Fatalf("got %v, %v, want clean", findings, err)
		}
	}
	if n := slow.scans.Load(); n != maxFailures {
		t.Errorf("the slow one was given %d scans, want %d", n, maxFailures)
	}
	if got := s.states(); got != "down up" {
		t.Errorf("daemons are %s, want down up", got)
	}
}

func TestChoosesTheDaemonWithTheLeastToDo(t *testing.T) {
	p := &pool{limit: 3, hedge: hedgeTime, log: newScanner(t, Config{}).pool.log}
	for range 3 {
		p.daemons = append(p.daemons, &daemon{flights: map[*attempt]bool{}})
	}
	give := func() *daemon {
		a := newAttempt(nil, false)
		p.waiting = append(p.waiting, a)
		p.serve()
		return a.d
	}
	loads := func() (n [3]int) {
		for i, d := range p.daemons {
			n[i] = len(d.flights)
		}
		return n
	}
	for i := range 6 {
		give()
		if n := loads(); max(n[0], n[1], n[2])-min(n[0], n[1], n[2]) > 1 {
			t.Errorf("after %d scans the daemons have %v", i+1, n)
		}
	}
	p.daemons[1].state = down
	give()
	give()
	if n := loads(); n != [3]int{3, 2, 3} {
		t.Errorf("with one down the daemons have %v, want 3 2 3", n)
	}
	if d := give(); d != nil || len(p.waiting) != 1 {
		t.Errorf("a daemon was given more than its limit, %d wait", len(p.waiting))
	}
	// The one that waits is served before one that comes later.
	first := p.waiting[0]
	later := newAttempt(nil, false)
	p.waiting = append(p.waiting, later)
	for a := range p.daemons[0].flights {
		p.release(a, nil)
		break
	}
	if first.d != p.daemons[0] || later.d != nil {
		t.Errorf("given to %p and %p, want the first that came", first.d, later.d)
	}
	// One that has been slow of late is the last choice.
	p.waiting = nil
	p.set(p.daemons[1], up, nil)
	p.daemons[1].slow = time.Now()
	p.daemons[2].flights = map[*attempt]bool{{}: true} // begun in the year 1: lags too
	p.daemons[0].flights = map[*attempt]bool{{began: time.Now()}: true, {began: time.Now(), not: p.daemons[0]}: true}
	if d := give(); d != p.daemons[0] {
		t.Error("chose a daemon that lags, want the one that does not though it has more to do")
	}
}

func TestVersionsOfDaemonsAreNotMixed(t *testing.T) {
	a, b := newPuppet(t, "unix"), newPuppet(t, "tcp")
	s := newScanner(t, Config{Addresses: []string{a.addr, b.addr}})
	ask := func() string { s.pool.probeAll(t.Context()); return s.Version() }
	seen := map[string]string{}
	for _, tt := range []struct{ name, a, b string }{
		{"both old", "ClamAV 1.4.6/1/x", "ClamAV 1.4.6/1/x"},
		{"one new", "ClamAV 1.4.6/2/y", "ClamAV 1.4.6/1/x"},
		{"both new", "ClamAV 1.4.6/2/y", "ClamAV 1.4.6/2/y"},
		{"one program new", "ClamAV 1.4.6/2/y", "ClamAV 1.4.7/2/y"},
	} {
		a.version.Store(tt.a)
		b.version.Store(tt.b)
		v := ask()
		if other, ok := seen[v]; ok || v == "" {
			t.Errorf("%s: version %q, like %q", tt.name, v, other)
		}
		seen[v] = tt.name
	}
	b.version.Store("ClamAV 1.4.7")
	if v := ask(); v != "" {
		t.Errorf("version %q, though one database has none", v)
	}
}

func TestKnowsTheAgeOfADatabase(t *testing.T) {
	p := newPuppet(t, "unix")
	s := newScanner(t, Config{Addresses: []string{p.addr}, MaxDatabaseAge: 24 * time.Hour})
	for version, stale := range map[string]bool{
		"ClamAV 1.4.6/27500/" + time.Now().Add(-time.Hour).Format(time.ANSIC):    false,
		"ClamAV 1.4.6/27500/" + time.Now().Add(-25*time.Hour).Format(time.ANSIC): true,
		"ClamAV 1.4.6/27500/yesterday":                                           true,
		"ClamAV 1.4.6":                                                           true,
	} {
		p.version.Store(version)
		if got := s.Status(t.Context()); got[0].Stale != stale || got[0].State != "up" {
			t.Errorf("%s: got %+v, want stale %v", version, got[0], stale)
		}
	}
}
