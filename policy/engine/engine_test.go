package engine_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"rastel/policy"
	"rastel/policy/engine"
	"rastel/policy/exceptions"
	"rastel/policy/quarantine"
	"rastel/policy/quarantine/blob"
	"rastel/policy/quarantine/sqlindex"
	"rastel/sanitize/eml"
	"rastel/scanners"
)

// words is a scanner for which a part that says "bad" is bad, and one that says "broken" or
// "later" cannot be examined.
type words struct{}

func (words) Checks() []eml.Check { return []eml.Check{{ID: "words/bad", Doc: "It says so."}} }

func (words) Scan(_ context.Context, p *eml.Part) ([]eml.Finding, error) {
	text, err := io.ReadAll(p.Content())
	switch {
	case err != nil:
		return nil, err
	case bytes.Contains(text, []byte("bad")):
		return []eml.Finding{{Check: "words/bad", Detail: "bad"}}, nil
	case bytes.Contains(text, []byte("broken")):
		return nil, errors.New("no reading this")
	case bytes.Contains(text, []byte("later")):
		return nil, &scanners.Temporary{Err: errors.New("not now")}
	}
	return nil, nil
}

const rules = `
rules:
  - {name: bad, when: 'has("words/bad")', then: quarantine}
  - {name: copy, when: 'subject == "copy"', do: [hold, {add_header: {name: X-Seen, value: "yes"}}]}
`

// A world is an engine with a real quarantine.
type world struct {
	*engine.Engine
	store *quarantine.Store
	log   bytes.Buffer
}

func newWorld(t *testing.T, cfg quarantine.Config, change func(*engine.Options)) *world {
	t.Helper()
	p, err := policy.Load("test", []byte(rules), policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Dir == "" {
		cfg.Dir = filepath.Join(t.TempDir(), "quarantine")
	}
	index, err := sqlindex.Open(cfg.IndexFile())
	if err != nil {
		t.Fatal(err)
	}
	blobs, err := blob.Open(cfg.BlobDir(), blob.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{}
	if w.store, err = quarantine.New(quarantine.Options{Config: cfg, Index: index, Blobs: blobs}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.store.Close() })
	opt := engine.Options{
		Set:        scanners.NewSet(scanners.Options{}, scanners.Named{Name: "words", Scanner: words{}}),
		Policy:     func() *policy.Policy { return p },
		Quarantine: w.store,
		Logger:     slog.New(slog.NewTextHandler(&w.log, nil)),
	}
	if change != nil {
		change(&opt)
	}
	w.Engine = engine.New(opt)
	return w
}

func envelope() *eml.Envelope {
	return &eml.Envelope{QueueID: "Q1", Sender: "ann@example.org", Recipients: []string{"bob@example.net"}}
}

// spool has a whole message.
func spool(t *testing.T, raw string) *eml.Spool {
	t.Helper()
	s := eml.NewSpool(eml.SpoolOptions{})
	t.Cleanup(func() { s.Close() })
	if _, err := io.WriteString(s, raw); err != nil {
		t.Fatal(err)
	}
	s.CloseWrite(nil)
	return s
}

// judge gives the verdict about a message and what would be delivered of it.
func (w *world) judge(t *testing.T, raw string) (*policy.Verdict, string) {
	t.Helper()
	s := spool(t, raw)
	v, err := w.Judge(t.Context(), envelope(), s)
	if err != nil {
		t.Fatalf("Judge(%.100q): %v", raw, err)
	}
	if v.Patch.Empty() {
		return v, raw
	}
	var out strings.Builder
	if _, err := v.Patch.WriteTo(&out); err != nil {
		t.Fatal(err)
	}
	return v, out.String()
}

// held is all that the quarantine holds.
func (w *world) held(t *testing.T) []quarantine.Item {
	t.Helper()
	items, err := w.store.List(t.Context(), quarantine.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	return items
}

func (w *world) wantRaw(t *testing.T, id, want string) {
	t.Helper()
	r, err := w.store.Open(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || string(got) != want {
		t.Errorf("held is %q, %v; want %q", got, err, want)
	}
}

func mail(subject, body string) string { return "Subject: " + subject + "\r\n\r\n" + body + "\r\n" }

// A naming editor strips so that the notice names the item.
type naming struct{ policy.Editor }

func (naming) Strip(p *eml.Part, r policy.Removal) ([]eml.Edit, error) {
	return []eml.Edit{{Part: p, Region: eml.InBody, End: -1, Text: []byte("kept as " + r.Item + ".\r\n")}}, nil
}

func TestNoticesNameAnItemThatIsThere(t *testing.T) {
	const rules = `rules: [{name: x, for: part, when: 'true', do: [strip]}, {name: y, when: 'subject == "copy"', do: [hold]}]`
	p, err := policy.Load("test", []byte(rules), policy.Options{Editor: naming{}})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, quarantine.Config{}, func(o *engine.Options) { o.Policy = func() *policy.Policy { return p } })
	want := func(raw, item string) {
		t.Helper()
		if _, out := w.judge(t, raw); !strings.Contains(out, "kept as "+item+".\r\n") {
			t.Errorf("delivered is %q, want the item %q", out, item)
		}
	}
	_, out := w.judge(t, mail("copy", "one"))
	held := w.held(t)
	if len(held) != 1 || !strings.Contains(out, "kept as "+held[0].ID+".") {
		t.Fatalf("delivered is %q, held %+v", out, held)
	}
	w.wantRaw(t, held[0].ID, mail("copy", "one"))
	want(mail("copy", "one"), held[0].ID) // a retry is no item of its own
	want(mail("other", "one"), "")        // nothing is held, so no item is named
	if _, out := w.judge(t, mail("copy", "two")); strings.Contains(out, held[0].ID) || len(w.held(t)) != 2 {
		t.Errorf("another message: delivered is %q, held %+v", out, w.held(t))
	}
}

func TestVerdicts(t *testing.T) {
	for _, tt := range []struct {
		raw    string
		action policy.Action
		rule   string
		held   int
	}{
		{mail("a", "good"), policy.Accept, "", 0},
		{mail("a", "bad"), policy.Quarantine, "bad", 1},
		{mail("a", "broken"), policy.Quarantine, "", 1},
		{mail("a", "later"), policy.TempFail, "", 0},
		{mail("copy", "good"), policy.Accept, "", 1},
		{mail("copy", "later"), policy.TempFail, "", 0},
		{"", policy.Accept, "", 0},
	} {
		w := newWorld(t, quarantine.Config{}, nil)
		v, out := w.judge(t, tt.raw)
		held := w.held(t)
		if v.Action != tt.action || v.Rule != tt.rule || len(held) != tt.held {
			t.Errorf("%q: %s by %q, %d held; want %s by %q, %d held", tt.raw, v.Action, v.Rule, len(held), tt.action, tt.rule, tt.held)
			continue
		}
		for _, it := range held { // the original, not what is delivered
			w.wantRaw(t, it.ID, tt.raw)
			if it.Sender != "ann@example.org" || len(it.Recipients) != 1 || it.Rule != tt.rule || it.Policy != v.Policy {
				t.Errorf("%q: held as %+v", tt.raw, it)
			}
		}
		if seen := strings.Contains(out, "X-Seen: yes"); seen != (strings.HasPrefix(tt.raw, "Subject: copy") && v.Action == policy.Accept) {
			t.Errorf("%q: delivered %q", tt.raw, out)
		}
		if got := strings.Count(w.log.String(), "msg=verdict"); got != 1 || !strings.Contains(w.log.String(), "action="+tt.action.String()) {
			t.Errorf("%q: log is %s", tt.raw, w.log.String())
		}
	}
}

// failing is a quarantine whose disk is full.
type failing struct{ engine.Quarantine }

func (failing) Hold(context.Context, *quarantine.Item, io.Reader) error {
	return errors.New("no space left on device")
}

// TestWhatCannotBeHeldIsNotAnswered: neither lost nor let through.
func TestWhatCannotBeHeldIsNotAnswered(t *testing.T) {
	for name, q := range map[string]engine.Quarantine{"none": nil, "failing": failing{}} {
		w := newWorld(t, quarantine.Config{}, func(o *engine.Options) { o.Quarantine = q })
		for _, raw := range []string{mail("a", "bad"), mail("copy", "good")} {
			if v, _ := w.judge(t, raw); v.Action != policy.TempFail || v.Reply.Code != 0 {
				t.Errorf("%s: %q: %s %+v, want tempfail", name, raw, v.Action, v.Reply)
			}
		}
		if v, _ := w.judge(t, mail("a", "good")); v.Action != policy.Accept {
			t.Errorf("%s: a clean message: %s, want accept", name, v.Action)
		}
		if !strings.Contains(w.log.String(), "could not be held") {
			t.Errorf("%s: log says nothing: %s", name, w.log.String())
		}
	}
}

// TestMessageThatBreaksOff: what arrived of it is not judged.
func TestMessageThatBreaksOff(t *testing.T) {
	w := newWorld(t, quarantine.Config{}, nil)
	lost := errors.New("connection lost")
	s := eml.NewSpool(eml.SpoolOptions{})
	defer s.Close()
	if _, err := io.WriteString(s, "Subject: a\r\n\r\nbad"); err != nil {
		t.Fatal(err)
	}
	s.CloseWrite(lost)
	if v, err := w.Judge(t.Context(), envelope(), s); !errors.Is(err, lost) || v != nil {
		t.Errorf("Judge = %+v, %v; want the error of the spool", v, err)
	}
	if held := w.held(t); len(held) != 0 {
		t.Errorf("held: %+v", held)
	}
}

// A comeback is an MTA whose filter is the engine: what is released comes back through it.
type comeback struct {
	judge func(raw string)
}

func (c comeback) Mail(string, *smtp.MailOptions) error { return nil }
func (c comeback) Rcpt(string, *smtp.RcptOptions) error { return nil }
func (c comeback) Reset()                               {}
func (c comeback) Logout() error                        { return nil }
func (c comeback) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	c.judge(string(raw))
	return err
}

func TestReleasedMessages(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, quarantine.Config{Release: quarantine.ReleaseConfig{SMTP: l.Addr().String(), Timeout: 10 * time.Second}}, nil)
	raw := mail("a", "bad")
	var sent string
	var session comeback
	token := quarantine.TokenField + ": "
	var returned *policy.Verdict
	var delivered string
	session.judge = func(got string) {
		sent = got
		// With a second token of somebody else, which must not be seen outside either.
		returned, delivered = w.judge(t, strings.Replace(got, "Subject:", token+"forged\r\nSubject:", 1))
	}
	srv := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return session, nil }))
	srv.Domain = "comeback"
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	defer func() { srv.Close(); <-done }()

	w.judge(t, raw)
	held := w.held(t)
	if len(held) != 1 {
		t.Fatalf("%d held, want 1", len(held))
	}
	if _, err := w.store.Release(t.Context(), held[0].ID, quarantine.ReleaseRequest{By: "root"}); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(sent, token) {
		t.Fatalf("released without a token: %q", sent)
	}
	if returned.Action != policy.Accept || delivered != raw {
		t.Errorf("released: %s, delivered %q, want accept and %q", returned.Action, delivered, raw)
	}

	// Once delivered the token is worth nothing, and neither is one that is made up. Both are
	// taken off, also from what is clean.
	for name, field := range map[string]string{"used": sent[:strings.Index(sent, "\r\n")], "forged": token + "v1.x.y.z", "empty": token} {
		if v, _ := w.judge(t, field+"\r\n"+raw); v.Action != policy.Quarantine {
			t.Errorf("%s token: %s, want quarantine", name, v.Action)
		}
		clean := mail("copy", "good")
		if v, out := w.judge(t, field+"\r\n"+clean); v.Action != policy.Accept || strings.Contains(out, quarantine.TokenField) || !strings.Contains(out, "X-Seen: yes") {
			t.Errorf("%s token on a clean message: %s, delivered %q", name, v.Action, out)
		}
	}
}

// TestRecordsWhatAChangeTakesAway: what is recorded is added where the message is changed, and only
// there. A field more is no change to what was signed.
func TestRecordsWhatAChangeTakesAway(t *testing.T) {
	p, err := policy.Load("test", []byte(`rules:
- {name: tag, when: subject contains "tag", do: [{tag_subject: "[x]"}]}
- {name: seen, when: true, do: [{add_header: {name: X-Seen, value: "yes"}}]}`), policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, quarantine.Config{}, func(o *engine.Options) {
		o.Policy = func() *policy.Policy { return p }
		o.Record = func(m *eml.Message, findings []eml.Finding) []eml.Edit {
			if len(findings) == 0 {
				return nil
			}
			return []eml.Edit{{Part: m.Root, Region: eml.InHeader, Text: []byte("Was: " + findings[0].Check + "\r\n")}}
		}
	})
	for raw, want := range map[string]string{
		"Subject: tag\r\n\r\nbad\r\n":   "Was: words/bad\r\nSubject: [x] tag\r\nX-Seen: yes\r\n\r\nbad\r\n",
		"Subject: tag\r\n\r\nhello\r\n": "Subject: [x] tag\r\nX-Seen: yes\r\n\r\nhello\r\n",
		"Subject: x\r\n\r\nbad\r\n":     "Subject: x\r\nX-Seen: yes\r\n\r\nbad\r\n",
	} {
		if _, out := w.judge(t, raw); out != want {
			t.Errorf("%q became %q, want %q", raw, out, want)
		}
	}
}

// TestExceptionsAreCounted: one that made a difference is a hit; one that did not is none.
func TestExceptionsAreCounted(t *testing.T) {
	var book *exceptions.Book
	w := newWorld(t, quarantine.Config{}, func(opt *engine.Options) {
		index, err := sqlindex.Open(filepath.Join(t.TempDir(), "index.db"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { index.Close() })
		if book, err = exceptions.Open(t.Context(), index, nil); err != nil {
			t.Fatal(err)
		}
		opt.Exceptions = book
	})
	if v, _ := w.judge(t, "Subject: s\r\n\r\nbad"); v.Action != policy.Quarantine {
		t.Fatalf("got %v", v.Action)
	}
	until := time.Now().AddDate(0, 0, 1).Format(time.DateOnly)
	e, err := book.Create(t.Context(), exceptions.Exception{Scope: exceptions.Scope{Recipient: "@example.net", Rule: "bad"}, Owner: "o", Reason: "r", Until: until}, "test")
	if err != nil {
		t.Fatal(err)
	}
	for _, raw := range []string{"Subject: a\r\n\r\nbad", "Subject: b\r\n\r\nbad", "Subject: c\r\n\r\ngood"} {
		if v, _ := w.judge(t, raw); v.Action != policy.Accept {
			t.Errorf("%q: got %v", raw, v.Action)
		}
	}
	got, err := book.Get(t.Context(), e.ID)
	if err != nil || got.Hits != 2 || got.LastHit.IsZero() {
		t.Errorf("got %+v, %v; want 2 hits", got, err)
	}
	if n := strings.Count(w.log.String(), "exceptions="+e.ID); n != 2 {
		t.Errorf("the log names it %d times:\n%s", n, &w.log)
	}
	if err := book.Delete(t.Context(), e.ID, "test"); err != nil {
		t.Fatal(err)
	}
	if v, _ := w.judge(t, "Subject: d\r\n\r\nbad"); v.Action != policy.Quarantine {
		t.Errorf("after it was removed: %v", v.Action)
	}
}
