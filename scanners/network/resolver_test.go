package network

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"rastel/contrib/rig"
)

func newResolver(t testing.TB, addr string) *Resolver {
	t.Helper()
	r, err := NewResolver(Config{Resolver: addr, Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func TestLookups(t *testing.T) {
	long := strings.Repeat("0123456789", 400) // does not fit UDP
	d := nameServer(t, `q.test. 60 IN TXT "a\"b\\c" "\195\164"`,
		"m.test. 60 IN MX 20 b.test.", "m.test. 60 IN MX 10 a.test.", "a.test. 60 IN A 192.0.2.1", "a.test. 60 IN AAAA 2001:db8::1",
		"1.2.0.192.in-addr.arpa. 60 IN PTR a.test.")
	d.Set("long.test", long)
	r, ctx := newResolver(t, d.Addr), t.Context()
	for what, c := range map[string]struct {
		got  func() (any, error)
		want string
	}{
		"text":          {func() (any, error) { return r.LookupTXT(ctx, "Q.test.") }, `[a"b\cä] <nil>`},
		"long text":     {func() (any, error) { return r.LookupTXT(ctx, "long.test") }, "[" + long + "] <nil>"},
		"servers":       {func() (any, error) { mx, err := r.LookupMX(ctx, "m.test"); return len(mx), err }, "2 <nil>"},
		"addresses":     {func() (any, error) { return r.LookupIPAddr(ctx, "a.test") }, "[{192.0.2.1 } {2001:db8::1 }] <nil>"},
		"names":         {func() (any, error) { return r.LookupAddr(ctx, "192.0.2.1") }, "[a.test.] <nil>"},
		"names of none": {func() (any, error) { return r.LookupAddr(ctx, "a") }, "[] lookup a: no address"},
		"no address":    {func() (any, error) { return r.LookupIPAddr(ctx, "m.test") }, "[] lookup m.test: no such record"},
		"nothing":       {func() (any, error) { return r.LookupTXT(ctx, "n.test") }, "[] lookup n.test: no such record"},
	} {
		t.Run(what, func(t *testing.T) {
			v, err := c.got()
			if got := fmt.Sprint(v, " ", err); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestTroubleIsTemporary(t *testing.T) {
	d := nameServer(t)
	d.Fail("f.test")
	d.Set("s.test", rig.Silence)
	closed, err := rig.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]*Resolver{"f.test": newResolver(t, d.Addr), "s.test": newResolver(t, d.Addr), "c.test": newResolver(t, closed)} {
		_, err := r.LookupTXT(t.Context(), name)
		var de *net.DNSError
		if !errors.As(err, &de) || !de.IsTemporary || de.IsNotFound {
			t.Errorf("%s: %#v", name, err)
		}
	}
}

func TestAskedOnceAtTheSameTime(t *testing.T) {
	d := nameServer(t)
	d.Set("s.test", rig.Silence)
	r := newResolver(t, d.Addr)
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() { _, _ = r.LookupTXT(t.Context(), "s.test") })
	}
	all.Wait()
	if n := d.AskedFor("s.test"); n != 1 {
		t.Errorf("asked %d times, want once", n)
	}
}

func TestLookupsAreBounded(t *testing.T) {
	d := nameServer(t)
	r := newResolver(t, d.Addr)
	r.asking = maxAsking
	_, err := r.LookupTXT(t.Context(), "a.test")
	if err == nil || !strings.Contains(err.Error(), "too many") {
		t.Errorf("got %v", err)
	}
	r.asking = 0
}

func TestHugeAnswerIsNone(t *testing.T) {
	d := nameServer(t)
	for i := range maxRecords + 1 {
		if err := d.Add(fmt.Sprintf("h.test. 60 IN TXT \"%d\"", i)); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := newResolver(t, d.Addr).LookupTXT(t.Context(), "h.test"); err == nil || len(got) > 0 {
		t.Errorf("got %d records, %v", len(got), err)
	}
}

// The second server is asked if the first does not answer.
func TestSecondServer(t *testing.T) {
	d := nameServer(t)
	d.Set("a.test", "x")
	closed, err := rig.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	r := newResolver(t, closed)
	r.servers = append(r.servers, d.Addr)
	if got, err := r.LookupTXT(t.Context(), "a.test"); err != nil || len(got) != 1 {
		t.Errorf("got %q, %v", got, err)
	}
}

// An answer to another question, by somebody who guesses, is none.
func TestAnswerToAnotherQuestionIsNone(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.Question[0].Name = "other.test."
		_ = w.WriteMsg(m)
	})}
	up := make(chan struct{})
	s.NotifyStartedFunc = func() { close(up) }
	done := make(chan struct{})
	go func() { defer close(done); _ = s.ActivateAndServe() }()
	<-up
	defer func() { _ = s.Shutdown(); <-done }()
	if _, err := newResolver(t, conn.LocalAddr().String()).LookupTXT(t.Context(), "a.test"); err == nil || !strings.Contains(err.Error(), "another question") {
		t.Errorf("got %v", err)
	}
}
