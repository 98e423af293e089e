package quarantine_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"rastel/policy/quarantine"
)

// A delivery is one message that a sink has got.
type delivery struct {
	from string
	opt  smtp.MailOptions
	to   []string
	raw  string
}

// A sink is an SMTP server that keeps what it gets, byte for byte. What its hooks return is
// its answer at that stage.
type sink struct {
	addr   string
	onRcpt func(to string) error
	onData func(delivery) error

	mu  sync.Mutex
	got []delivery
}

// startSink starts a sink, which change may configure.
func startSink(t *testing.T, change func(*sink, *smtp.Server)) *sink {
	t.Helper()
	s := &sink{}
	srv := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &sinkSession{sink: s}, nil }))
	srv.Domain, srv.EnableSMTPUTF8, srv.MaxLineLength = "sink", true, 1<<20
	srv.ErrorLog = discardLogger{}
	if change != nil {
		change(s, srv)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = l.Addr().String()
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	t.Cleanup(func() { srv.Close(); <-done })
	return s
}

type discardLogger struct{}

func (discardLogger) Printf(string, ...any) {}
func (discardLogger) Println(...any)        {}

func (s *sink) deliveries() []delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

type sinkSession struct {
	sink *sink
	d    delivery
}

func (c *sinkSession) Reset()        { c.d = delivery{} }
func (c *sinkSession) Logout() error { return nil }

func (c *sinkSession) Mail(from string, opt *smtp.MailOptions) error {
	c.d.from, c.d.opt = from, *opt
	return nil
}

func (c *sinkSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	c.d.to = append(c.d.to, to)
	if c.sink.onRcpt != nil {
		return c.sink.onRcpt(to)
	}
	return nil
}

func (c *sinkSession) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	c.d.raw = string(raw)
	if c.sink.onData != nil {
		if err := c.sink.onData(c.d); err != nil {
			return err
		}
	}
	c.sink.mu.Lock()
	defer c.sink.mu.Unlock()
	c.sink.got = append(c.sink.got, c.d)
	return nil
}

func releaseTo(addr string) quarantine.Config {
	return quarantine.Config{Release: quarantine.ReleaseConfig{SMTP: addr, Timeout: 20 * time.Second}}
}

func TestReleaseSendsByteForByte(t *testing.T) {
	sink := startWire(t)
	s := newStore(t, releaseTo(sink.addr))
	for _, tt := range []struct{ name, raw, want string }{
		{"plain", message, message},
		{"empty", "", ""},
		{"no header", "\r\nbody\r\n", "\r\nbody\r\n"},
		{"no final line end", "A: b\r\n\r\nend", "A: b\r\n\r\nend\r\n"},
		{"empty lines at the end", "A: b\r\n\r\nx\r\n\r\n\r\n", "A: b\r\n\r\nx\r\n\r\n\r\n"},
		{"dots", "A: b\r\n\r\n.\r\n..\r\n.x\r\n. \r\n...\r\nx.\r\n.", "A: b\r\n\r\n.\r\n..\r\n.x\r\n. \r\n...\r\nx.\r\n.\r\n"},
		{"end of data in the message", "A: b\r\n\r\n.\r\nQUIT\r\nMAIL FROM:<x>\r\n", "A: b\r\n\r\n.\r\nQUIT\r\nMAIL FROM:<x>\r\n"},
		{"bare CR", "A: b\r\n\r\na\rb\r.\rc\r\n", "A: b\r\n\r\na\rb\r.\rc\r\n"},
		{"CR before CRLF", "A: b\r\n\r\na\r\r\nb\r\r\r\n.\r\n", "A: b\r\n\r\na\r\r\nb\r\r\r\n.\r\n"},
		{"bare CR before a dot", "A: b\r\n\r\n\r.\r\n\r..x\r\n", "A: b\r\n\r\n\r.\r\n\r..x\r\n"},
		{"bare CR at the end", "A: b\r\n\r\na\r", "A: b\r\n\r\na\r\n"},
		{"CR before CRLF at the end", "A: b\r\n\r\na\r\r\n", "A: b\r\n\r\na\r\r\n"},
		{"bare LF becomes CRLF", "A: b\n\nx\n.\n..\r\ny\n", "A: b\r\n\r\nx\r\n.\r\n..\r\ny\r\n"},
		{"NUL and 8 bits", "A: b\r\n\r\n\x00\x01\xff\xfe\x80\r\n", "A: b\r\n\r\n\x00\x01\xff\xfe\x80\r\n"},
		{"a forged token in the message", quarantine.TokenField + ": x\r\n\r\n", quarantine.TokenField + ": x\r\n\r\n"},
		{"long line", "A: b\r\n\r\n" + strings.Repeat("x", 200_000) + "\r\n", "A: b\r\n\r\n" + strings.Repeat("x", 200_000) + "\r\n"},
		{"lines at the borders of buffers", strings.Repeat(strings.Repeat(".", 31)+"\r\n", 10_000), strings.Repeat(strings.Repeat(".", 31)+"\r\n", 10_000)},
	} {
		it := s.hold(t, tt.raw)
		done, err := s.Release(t.Context(), it.ID, quarantine.ReleaseRequest{By: "root"})
		if err != nil || done.State != quarantine.Released || done.ChangedBy != "root" {
			t.Fatalf("%s: Release = %+v, %v; want it released by root", tt.name, done, err)
		}
		_, released := sink.last()
		_, raw := splitToken(t, released)
		if raw != tt.want {
			t.Errorf("%s: released %.200q\ngot  %.200q\nwant %.200q", tt.name, tt.raw, raw, tt.want)
		}
	}
}

func TestReleaseKeepsTheEnvelope(t *testing.T) {
	sink := startWire(t)
	s := newStore(t, releaseTo(sink.addr))
	tests := []struct {
		name     string
		sender   string
		args, to []string
		request  []string
		want     []string // the commands, without SIZE
	}{
		{"plain", "a@b.example", []string{"SIZE=1"}, []string{"x@y.example", "z@y.example"}, nil,
			[]string{"MAIL FROM:<a@b.example> BODY=8BITMIME", "RCPT TO:<x@y.example>", "RCPT TO:<z@y.example>"}},
		{"null sender", "", nil, []string{"x@y.example"}, nil,
			[]string{"MAIL FROM:<> BODY=8BITMIME", "RCPT TO:<x@y.example>"}},
		{"SMTPUTF8", "ä@b.example", []string{"smtputf8", "BODY=8BITMIME"}, []string{"ö@y.example"}, nil,
			[]string{"MAIL FROM:<ä@b.example> BODY=8BITMIME SMTPUTF8", "RCPT TO:<ö@y.example>"}},
		{"other recipients", "a@b.example", nil, []string{"x@y.example"}, []string{"admin@y.example"},
			[]string{"MAIL FROM:<a@b.example> BODY=8BITMIME", "RCPT TO:<admin@y.example>"}},
		{"quoted local part", `"a b>"@b.example`, nil, []string{`"x\">y"@y.example`}, nil,
			[]string{`MAIL FROM:<"a b>"@b.example> BODY=8BITMIME`, `RCPT TO:<"x\">y"@y.example>`}},
	}
	size := regexp.MustCompile(` SIZE=[0-9]+`)
	for _, tt := range tests {
		it := quarantine.NewItem(envelope())
		it.Sender, it.SenderArgs, it.Recipients = tt.sender, tt.args, tt.to
		if err := s.Hold(t.Context(), it, strings.NewReader(message)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Release(t.Context(), it.ID, quarantine.ReleaseRequest{Recipients: tt.request}); err != nil {
			t.Errorf("%s: Release: %v", tt.name, err)
			continue
		}
		got, raw := sink.last()
		if want := fmt.Sprintf(" SIZE=%d", len(raw)); !strings.Contains(got[1], want) {
			t.Errorf("%s: %q, want%s", tt.name, got[1], want)
		}
		got = strings.Split(size.ReplaceAllString(strings.Join(got, "\n"), ""), "\n")
		if want := slices.Concat([]string{"EHLO localhost"}, tt.want, []string{"DATA"}); !slices.Equal(got, want) {
			t.Errorf("%s: sent\n%q, want\n%q", tt.name, got, want)
		}
	}
}

func TestReleaseRefusesAServerThatCannot(t *testing.T) {
	sink := startSink(t, func(_ *sink, srv *smtp.Server) { srv.EnableSMTPUTF8 = false })
	s := newStore(t, releaseTo(sink.addr))
	it := quarantine.NewItem(envelope())
	it.SenderArgs = []string{"SMTPUTF8"}
	if err := s.Hold(t.Context(), it, strings.NewReader(message)); err != nil {
		t.Fatal(err)
	}
	var sendErr *quarantine.SendError
	if _, err := s.Release(t.Context(), it.ID, quarantine.ReleaseRequest{}); !errors.As(err, &sendErr) || sendErr.Temporary {
		t.Errorf("Release = %v, want a permanent SendError", err)
	}
	s.wantState(t, it.ID, quarantine.Held)
}

func TestReleaseRefusesAddressesThatEndTheCommand(t *testing.T) {
	sink := startSink(t, nil)
	s := newStore(t, releaseTo(sink.addr))
	for _, addr := range []string{"a@b> SIZE=1", "a@b>\r\nRCPT TO:<evil@x", "a\x00@b", "<a@b", `"a@b`, "a b@c"} {
		it := quarantine.NewItem(envelope())
		it.Sender = addr
		if err := s.Hold(t.Context(), it, strings.NewReader(message)); err != nil {
			t.Fatal(err)
		}
		var sendErr *quarantine.SendError
		if _, err := s.Release(t.Context(), it.ID, quarantine.ReleaseRequest{}); !errors.As(err, &sendErr) || sendErr.Temporary {
			t.Errorf("sender %q: Release = %v, want a permanent SendError", addr, err)
		}
		s.wantState(t, it.ID, quarantine.Held)
		req := quarantine.ReleaseRequest{Recipients: []string{"a@b.example", addr}}
		if _, err := s.Release(t.Context(), it.ID, req); !errors.Is(err, quarantine.ErrRecipient) {
			t.Errorf("recipient %q: Release = %v, want ErrRecipient", addr, err)
		}
	}
	for _, to := range [][]string{{}, {""}, make([]string, quarantine.MaxRecipients+1)} {
		it := s.hold(t, message)
		if _, err := s.Release(t.Context(), it.ID, quarantine.ReleaseRequest{Recipients: to}); !errors.Is(err, quarantine.ErrRecipient) {
			t.Errorf("%d recipients: Release = %v, want ErrRecipient", len(to), err)
		}
	}
	if got := sink.deliveries(); len(got) > 0 {
		t.Errorf("the sink got %d messages, want none", len(got))
	}
}

func TestReleaseStaysHeldWhenTheServerRefuses(t *testing.T) {
	reply := func(code int) error {
		return &smtp.SMTPError{Code: code, EnhancedCode: smtp.EnhancedCode{code / 100, 7, 1}, Message: "go away"}
	}
	tests := []struct {
		name      string
		change    func(*sink, *smtp.Server)
		temporary bool
		unsure    bool
	}{
		{"451 to the message", func(s *sink, _ *smtp.Server) { s.onData = func(delivery) error { return reply(451) } }, true, false},
		{"550 to the message", func(s *sink, _ *smtp.Server) { s.onData = func(delivery) error { return reply(550) } }, false, false},
		{"550 to one recipient", func(s *sink, _ *smtp.Server) {
			s.onRcpt = func(to string) error {
				if to == "carol@example.com" {
					return reply(550)
				}
				return nil
			}
		}, false, false},
		{"452 to a recipient", func(s *sink, _ *smtp.Server) { s.onRcpt = func(string) error { return reply(452) } }, true, false},
		{"too large by its SIZE", func(_ *sink, srv *smtp.Server) { srv.MaxMessageBytes = 10 }, false, false},
		{"connection lost after the message", func(s *sink, srv *smtp.Server) {
			s.onData = func(delivery) error { go srv.Close(); select {} }
		}, true, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sink := startSink(t, tt.change)
			s := newStore(t, releaseTo(sink.addr))
			it := s.hold(t, message)
			_, err := s.Release(t.Context(), it.ID, quarantine.ReleaseRequest{By: "root"})
			var sendErr *quarantine.SendError
			if !errors.As(err, &sendErr) || sendErr.Temporary != tt.temporary || sendErr.Unsure != tt.unsure {
				t.Fatalf("Release = %#v, want a SendError with temporary %v, unsure %v", err, tt.temporary, tt.unsure)
			}
			got := s.wantState(t, it.ID, quarantine.Held)
			if got.Note != err.Error() {
				t.Errorf("note = %q, want %q", got.Note, err)
			}
			if n := len(sink.deliveries()); n != 0 {
				t.Errorf("the sink kept %d messages, want none", n)
			}
			s.wantRaw(t, it.ID, message)
		})
	}
}

// A server that hangs up, or says nothing, at each stage.
func TestReleaseStaysHeldWhenTheConnectionIsLost(t *testing.T) {
	for _, answers := range [][]string{
		{},
		{"220 x"},
		{"220 x", "250 x"},
		{"220 x", "250 x", "250 sender"},
		{"220 x", "250 x", "250 sender", "250 rcpt", "250 rcpt"},
		{"554 no service"},
		{"220 x", "250 x", "250 sender", "250 rcpt", "250 rcpt", "354 go on"},
		{"garbage"},
	} {
		addr := scripted(t, answers)
		s := newStore(t, releaseTo(addr))
		it := s.hold(t, message)
		var sendErr *quarantine.SendError
		if _, err := s.Release(t.Context(), it.ID, quarantine.ReleaseRequest{}); !errors.As(err, &sendErr) {
			t.Errorf("server that says %q: Release = %v, want a SendError", answers, err)
		}
		s.wantState(t, it.ID, quarantine.Held)
	}
}

// scripted is a server that gives one answer to each line and hangs up after the last.
func scripted(t *testing.T, answers []string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		buf := make([]byte, 4096)
		for _, a := range answers {
			if _, err := io.WriteString(c, a+"\r\n"); err != nil {
				return
			}
			if _, err := c.Read(buf); err != nil {
				return
			}
		}
	}()
	return l.Addr().String()
}

func TestReleaseEndsWithItsContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and never says a word
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := newStore(t, releaseTo(l.Addr().String()))
	it := s.hold(t, message)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begin := time.Now()
	_, err = s.Release(ctx, it.ID, quarantine.ReleaseRequest{})
	if took := time.Since(begin); !errors.Is(err, context.DeadlineExceeded) || took > s.cfg.Release.Timeout/2 {
		t.Errorf("Release = %v after %v, want context.DeadlineExceeded at once", err, took)
	}
	s.wantState(t, it.ID, quarantine.Held)
}

func TestReleaseSendsNoEndOfADamagedMessage(t *testing.T) {
	sink := startSink(t, nil)
	s := newStore(t, releaseTo(sink.addr))
	it := s.hold(t, message)
	overwrite(t, s.blobFiles(t)[0], "Subject: hello\r\n\r\nevil\r\n")
	if _, err := s.Release(t.Context(), it.ID, quarantine.ReleaseRequest{}); !errors.Is(err, quarantine.ErrCorrupt) {
		t.Errorf("Release = %v, want ErrCorrupt", err)
	}
	if got := sink.deliveries(); len(got) > 0 {
		t.Errorf("the sink got %+v, want nothing", got)
	}
	s.wantState(t, it.ID, quarantine.Held)
}

func TestOneOfManyReleasersSends(t *testing.T) {
	sink := startSink(t, nil)
	s := newStore(t, releaseTo(sink.addr))
	other := newStore(t, quarantine.Config{Dir: s.cfg.Dir, Release: s.cfg.Release}) // a second process
	it := s.hold(t, message)
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for n := range 12 {
		wg.Go(func() {
			store := []*setup{s, other}[n%2]
			_, err := store.Release(context.WithoutCancel(t.Context()), it.ID, quarantine.ReleaseRequest{})
			if err == nil {
				mu.Lock()
				won++
				mu.Unlock()
			} else if !errors.Is(err, quarantine.ErrState) {
				t.Errorf("Release = %v, want nil or ErrState", err)
			}
		})
	}
	wg.Wait()
	if n := len(sink.deliveries()); won != 1 || n != 1 {
		t.Errorf("%d releasers succeeded and %d messages were sent, want 1 and 1", won, n)
	}
}

func TestCutOffReleaseIsTakenBackAfterItsLease(t *testing.T) {
	sink := startSink(t, nil)
	s := newStore(t, releaseTo(sink.addr))
	it := s.hold(t, message)
	if _, err := quarantine.BeginRelease(s.Store, t.Context(), it.ID, quarantine.ReleaseRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Release(t.Context(), it.ID, quarantine.ReleaseRequest{}); !errors.Is(err, quarantine.ErrState) {
		t.Errorf("Release within the lease = %v, want ErrState", err)
	}
	if err := s.Delete(t.Context(), it.ID, ""); !errors.Is(err, quarantine.ErrState) {
		t.Errorf("Delete within the lease = %v, want ErrState", err)
	}
	if n, err := s.Expire(t.Context(), it.Expires.Add(time.Hour)); n != 0 || err != nil {
		t.Errorf("Expire within the lease = %d, %v; want 0", n, err)
	}
	s.wantState(t, it.ID, quarantine.Releasing)

	s.now = s.now.Add(time.Hour)
	if _, err := s.Expire(t.Context(), s.now); err != nil {
		t.Fatal(err)
	}
	if got := s.wantState(t, it.ID, quarantine.Held); !strings.Contains(got.Note, "cut off") {
		t.Errorf("note = %q, want it to say that the release was cut off", got.Note)
	}
	if _, err := s.Release(t.Context(), it.ID, quarantine.ReleaseRequest{}); err != nil {
		t.Errorf("Release after the lease: %v", err)
	}

	again := s.hold(t, message+"2")
	if _, err := quarantine.BeginRelease(s.Store, t.Context(), again.ID, quarantine.ReleaseRequest{}); err != nil {
		t.Fatal(err)
	}
	s.now = s.now.Add(time.Hour)
	if _, err := s.Release(t.Context(), again.ID, quarantine.ReleaseRequest{}); err != nil {
		t.Errorf("Release after the lease, not taken back before: %v", err)
	}
}

// A releaser that was so slow that another took over must not note its own end.
func TestReleaserWithoutItsLeaseNotesNothing(t *testing.T) {
	var s *setup
	sink := startSink(t, func(k *sink, _ *smtp.Server) {
		k.onData = func(delivery) error {
			items, err := s.List(context.Background(), quarantine.Filter{State: quarantine.Releasing})
			if err != nil || len(items) != 1 {
				t.Errorf("List = %v, %v; want the item that is being released", items, err)
				return nil
			}
			_, err = s.index.Update(context.Background(), items[0].ID, func(it *quarantine.Item) error {
				it.Attempt = "of another releaser"
				return nil
			})
			return err
		}
	})
	s = newStore(t, releaseTo(sink.addr))
	it := s.hold(t, message)
	if _, err := s.Release(t.Context(), it.ID, quarantine.ReleaseRequest{}); !errors.Is(err, quarantine.ErrState) {
		t.Errorf("Release = %v, want ErrState", err)
	}
	s.wantState(t, it.ID, quarantine.Releasing)
}
