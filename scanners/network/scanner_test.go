package network

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"rastel/contrib/rig"
	"rastel/sanitize/eml"
	"rastel/scanners/scannertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func nameServer(t testing.TB, records ...string) *rig.DNS {
	t.Helper()
	d, err := rig.StartDNS()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Stop() })
	if err := d.Add(records...); err != nil {
		t.Fatal(err)
	}
	return d
}

// newScanner makes a scanner with its resolver.
func newScanner(t testing.TB, cfg Config, relays Relays, log *slog.Logger) *Scanner {
	t.Helper()
	r, err := NewResolver(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	s, err := New(cfg, relays, r, log)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func lists(d *rig.DNS) Config {
	return Config{
		Resolver:   d.Addr,
		Blocklists: []Zone{{Zone: "bad.test."}, {Zone: "codes.test", Name: "some", Codes: []string{"127.0.0.2", "127.0.0.4-127.0.0.7", "127.0.1.0/24"}}},
		Allowlists: []Zone{{Zone: "good.test"}},
		Domains:    []Zone{{Zone: "domains.test"}},
	}
}

func found(t *testing.T, ctx context.Context, s *Scanner, m *eml.Message) string {
	t.Helper()
	findings, err := s.ScanMessage(ctx, m)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range findings {
		if f.Part != m.Root {
			t.Errorf("%s has no part", f.Check)
		}
		out = append(out, strings.TrimPrefix(f.Check, "dns/")+" "+f.Detail)
	}
	return strings.Join(out, "\n")
}

func TestLists(t *testing.T) {
	d := nameServer(t,
		"2.113.0.203.bad.test. 60 IN A 127.0.0.2",
		"3.113.0.203.good.test. 60 IN A 127.0.9.2",
		"4.113.0.203.codes.test. 60 IN A 127.0.0.3", "4.113.0.203.codes.test. 60 IN A 127.0.0.8",
		"5.113.0.203.codes.test. 60 IN A 127.0.0.3", "5.113.0.203.codes.test. 60 IN A 127.0.0.5",
		"6.113.0.203.codes.test. 60 IN A 127.0.1.77",
		"7.113.0.203.bad.test. 60 IN CNAME all.bad.test.", "7.113.0.203.bad.test. 60 IN A 127.0.0.9",
		"9.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.bad.test. 60 IN A 127.0.0.2",
		"10.113.0.203.bad.test. 60 IN A 127.255.255.254",
		"11.113.0.203.bad.test. 60 IN A 198.51.100.1",
		"12.113.0.203.bad.test. 60 IN A 127.0.0.1",
		"13.113.0.203.good.test. 60 IN A 127.0.0.255",
		"14.113.0.203.bad.test. 60 IN A 127.0.0.2", "14.113.0.203.bad.test. 60 IN A 198.51.100.1",
		"15.113.0.203.bad.test. 60 IN TXT x",
		"1.0.0.10.bad.test. 60 IN A 127.0.0.2",
		"1.2.0.192.bad.test. 60 IN A 127.0.0.2",
	)
	d.Fail("16.113.0.203.bad.test")
	d.Set("17.113.0.203.bad.test", rig.Silence)
	relays, err := ParseRelays([]string{"192.0.2.0/24"})
	if err != nil {
		t.Fatal(err)
	}
	for client, want := range map[string]string{
		"203.0.113.1":        "",
		"203.0.113.2":        "listed bad 203.0.113.2 127.0.0.2",
		"::ffff:203.0.113.2": "listed bad 203.0.113.2 127.0.0.2",
		"203.0.113.3":        "allowed good 203.0.113.3 127.0.9.2",
		"203.0.113.4":        "",
		"203.0.113.5":        "listed some 203.0.113.5 127.0.0.5",
		"203.0.113.6":        "listed some 203.0.113.6 127.0.1.77",
		"203.0.113.7":        "listed bad 203.0.113.7 127.0.0.9",
		"2001:db8::9":        "listed bad 2001:db8::9 127.0.0.2",
		"2001:db8::8":        "",
		"203.0.113.10":       "unknown bad 203.0.113.10 the list refuses to answer this resolver: 127.255.255.254",
		"203.0.113.11":       "unknown bad 203.0.113.11 the answer 198.51.100.1 is outside 127.0.0.0/8: the resolver invents answers, or the list has ended",
		"203.0.113.12":       "unknown bad 203.0.113.12 the list refuses to answer this resolver: 127.0.0.1",
		"203.0.113.13":       "unknown good 203.0.113.13 the list refuses to answer this resolver: 127.0.0.255",
		"203.0.113.14":       "unknown bad 203.0.113.14 the answer 198.51.100.1 is outside 127.0.0.0/8: the resolver invents answers, or the list has ended",
		"203.0.113.15":       "",
		"203.0.113.16":       "unknown bad 203.0.113.16 the resolver says SERVFAIL",
		"203.0.113.17":       "unknown bad 203.0.113.17 no answer in time",
		"10.0.0.1":           "", // of no interest to anybody else
		"192.0.2.1":          "", // a relay of ours
		"":                   "",
	} {
		t.Run(client, func(t *testing.T) {
			cfg := lists(d)
			cfg.Timeout = maxTimeout // the machine may be busy
			if strings.HasSuffix(want, "no answer in time") {
				cfg.Timeout = time.Second
			}
			got := found(t, t.Context(), newScanner(t, cfg, relays, nil), message(t, client, ""))
			if got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestHostBehindARelayIsAskedAbout(t *testing.T) {
	d := nameServer(t, "2.113.0.203.bad.test. 60 IN A 127.0.0.2")
	relays := Relays{netip.MustParsePrefix("192.0.2.0/24")}
	s := newScanner(t, lists(d), relays, nil)
	m := message(t, "192.0.2.1", "Received: from h (n [203.0.113.2]) by relay; x\n"+forged)
	if got := found(t, t.Context(), s, m); got != "listed bad 203.0.113.2 127.0.0.2" {
		t.Errorf("got %q", got)
	}
}

func TestDomainsOfTheEnvelopeAreAskedAbout(t *testing.T) {
	d := nameServer(t, "sender.example.domains.test. 60 IN A 127.0.1.2", "mx.sender.example.domains.test. 60 IN A 127.0.1.4")
	s := newScanner(t, lists(d), Relays{netip.MustParsePrefix("192.0.2.0/24")}, nil)
	m := message(t, "203.0.113.1", "")
	if got := found(t, t.Context(), s, m); got != "domain-listed domains sender.example 127.0.1.2\ndomain-listed domains mx.sender.example 127.0.1.4" {
		t.Errorf("got %q", got)
	}
	m.Envelope.Client = netip.MustParseAddr("192.0.2.1") // a relay: its HELO says nothing
	if got := found(t, t.Context(), s, m); got != "domain-listed domains sender.example 127.0.1.2" {
		t.Errorf("got %q", got)
	}
	for _, odd := range []string{"[203.0.113.1]", "203.0.113.1", "localhost", "a..b", strings.Repeat("a.", 126) + "a", "a b.example", ""} {
		before := d.Asked()
		m.Envelope = &eml.Envelope{Helo: odd, Sender: "a@" + odd}
		if got := found(t, t.Context(), s, m); got != "" || d.Asked() != before {
			t.Errorf("%q: got %q after %d questions, want none", odd, got, d.Asked()-before)
		}
	}
}

// Whoever has authenticated may be on a list of dial-up networks.
func TestUsersAreNotAskedAbout(t *testing.T) {
	d := nameServer(t, "2.113.0.203.bad.test. 60 IN A 127.0.0.2")
	s := newScanner(t, lists(d), nil, nil)
	m := message(t, "203.0.113.2", "")
	m.Envelope.AuthUser = "ann"
	if got := found(t, t.Context(), s, m); got != "" || len(s.ScanEnvelope(t.Context(), eml.AtMail, m.Envelope)) > 0 || d.Asked() != 0 {
		t.Errorf("got %q after %d questions", got, d.Asked())
	}
	m.Envelope.AuthUser = ""
	for at, want := range map[eml.Stage]int{eml.AtConnect: 1, eml.AtMail: 1} {
		if got := s.ScanEnvelope(t.Context(), at, m.Envelope); len(got) != want || got[0].Check != "dns/listed" {
			t.Errorf("at %s: %v", at, got)
		}
	}
}

// Codes do not make a listing of a refusal.
func TestRefusalIsNoListingWhateverCodesSay(t *testing.T) {
	d := nameServer(t, "2.113.0.203.bad.test. 60 IN A 127.255.255.255")
	cfg := Config{Resolver: d.Addr, Blocklists: []Zone{{Zone: "bad.test", Codes: []string{"127.0.0.0/8"}}}}
	if got := found(t, t.Context(), newScanner(t, cfg, nil, nil), message(t, "203.0.113.2", "")); !strings.HasPrefix(got, "unknown ") {
		t.Errorf("got %q", got)
	}
}

// Each is asked once, however many messages come.
func TestAnswersAreKept(t *testing.T) {
	d := nameServer(t, "2.113.0.203.bad.test. 60 IN A 127.0.0.2")
	s := newScanner(t, lists(d), nil, nil)
	for range 5 {
		found(t, t.Context(), s, message(t, "203.0.113.2", ""))
	}
	if n := d.AskedFor("2.113.0.203.bad.test"); n != 1 {
		t.Errorf("asked %d times, want once", n)
	}
	if n := d.AskedFor("2.113.0.203.good.test"); n != 1 { // there is none
		t.Errorf("asked %d times about what is not there, want once", n)
	}
}

func TestAnswersAreBounded(t *testing.T) {
	d := nameServer(t)
	r, err := NewResolver(Config{Resolver: d.Addr})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	done := make(chan struct{})
	close(done)
	for i := range 2 * maxAnswers {
		r.mu.Lock()
		r.makeRoom(time.Now())
		r.answers[question{fmt.Sprint(i), 1}] = &answer{done: done, until: time.Now().Add(time.Duration(i%2) * time.Hour)}
		r.mu.Unlock()
	}
	if n := len(r.answers); n > maxAnswers {
		t.Errorf("%d answers are kept, want at most %d", n, maxAnswers)
	}
}

// A list that is down is told of once, delays three messages, and rests then.
func TestListThatIsDownRests(t *testing.T) {
	d := nameServer(t)
	for i := range 10 {
		d.Set(fmt.Sprintf("%d.113.0.203.bad.test", i), rig.Silence)
	}
	var log bytes.Buffer
	cfg := Config{Resolver: d.Addr, Timeout: 50 * time.Millisecond, Blocklists: []Zone{{Zone: "bad.test"}}}
	s := newScanner(t, cfg, nil, slog.New(slog.NewTextHandler(&log, nil)))
	for i := range 10 {
		got := found(t, t.Context(), s, message(t, fmt.Sprintf("203.0.113.%d", i), ""))
		why := "no answer in time"
		if i >= maxTrouble {
			why = "the list does not answer, and is not asked for a while"
		}
		if want := fmt.Sprintf("unknown bad 203.0.113.%d %s", i, why); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if n := strings.Count(log.String(), "does not answer"); n != 1 {
		t.Errorf("logged %d times, want once:\n%s", n, log.String())
	}
}

func TestListThatAnswersAgainIsToldOf(t *testing.T) {
	d := nameServer(t)
	d.Fail("1.113.0.203.bad.test")
	var log bytes.Buffer
	cfg := Config{Resolver: d.Addr, Blocklists: []Zone{{Zone: "bad.test"}}}
	s := newScanner(t, cfg, nil, slog.New(slog.NewTextHandler(&log, nil)))
	found(t, t.Context(), s, message(t, "203.0.113.1", ""))
	found(t, t.Context(), s, message(t, "203.0.113.2", ""))
	if !strings.Contains(log.String(), "answers again") || len(s.troubles) != 0 {
		t.Errorf("log:\n%s", log.String())
	}
}

// One silent list delays no other, and all of them a message by one timeout.
func TestListsAreAskedAtTheSameTime(t *testing.T) {
	d := nameServer(t)
	cfg := Config{Resolver: d.Addr, Timeout: 300 * time.Millisecond}
	for i := range 20 {
		zone := fmt.Sprintf("bad%d.test", i)
		cfg.Blocklists = append(cfg.Blocklists, Zone{Zone: zone})
		d.Set("2.113.0.203."+zone, rig.Silence)
	}
	start := time.Now()
	got := found(t, t.Context(), newScanner(t, cfg, nil, nil), message(t, "203.0.113.2", ""))
	t.Logf("20 silent lists took %v of %v", time.Since(start), cfg.Timeout)
	if n := strings.Count(got, "unknown "); n != 20 {
		t.Errorf("%d lists are not known, want 20:\n%s", n, got)
	}
}

func TestEndsWithItsContext(t *testing.T) {
	d := nameServer(t)
	d.Set("2.113.0.203.bad.test", rig.Silence)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	cfg := Config{Resolver: d.Addr, Timeout: maxTimeout, Blocklists: []Zone{{Zone: "bad.test"}}}
	if got := found(t, ctx, newScanner(t, cfg, nil, nil), message(t, "203.0.113.2", "")); got != "unknown bad 203.0.113.2 no answer in time" {
		t.Errorf("got %q", got)
	}
}

func TestNobodyIsAskedUnconfigured(t *testing.T) {
	d := nameServer(t)
	s := newScanner(t, Config{Resolver: d.Addr}, nil, nil)
	if got := found(t, t.Context(), s, message(t, "203.0.113.2", "")); got != "" || d.Asked() != 0 {
		t.Errorf("got %q after %d questions", got, d.Asked())
	}
}

func TestScannerKeepsItsContract(t *testing.T) {
	d := nameServer(t)
	scannertest.Run(t, newScanner(t, lists(d), nil, nil))
}

func TestConfig(t *testing.T) {
	for _, c := range []Config{
		{Resolver: "127.0.0.1"}, {Timeout: time.Hour}, {Timeout: -1},
		{Blocklists: []Zone{{}}}, {Blocklists: []Zone{{Zone: "test"}}}, {Domains: []Zone{{Zone: "a b.test"}}},
		{Allowlists: []Zone{{Zone: "a.test", Name: "a b"}}},
		{Blocklists: []Zone{{Zone: "a.test", Codes: []string{"128.0.0.1"}}}},
		{Blocklists: []Zone{{Zone: "a.test", Codes: []string{"127.0.0.9-127.0.0.2"}}}},
		{Blocklists: []Zone{{Zone: "a.test", Codes: []string{"127.0.0.2-"}}}},
		{Blocklists: []Zone{{Zone: "a.test", Codes: []string{"::1"}}}},
		{Blocklists: []Zone{{Zone: "a.test", Codes: []string{"126.0.0.0/7"}}}},
		{Blocklists: slices.Repeat([]Zone{{Zone: "a.test"}}, maxZones+1)},
	} {
		if c.Validate() == nil {
			t.Errorf("%+v is valid", c)
		}
	}
	if err := lists(&rig.DNS{Addr: "127.0.0.1:53"}).Validate(); err != nil {
		t.Error(err)
	}
}
