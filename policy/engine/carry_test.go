package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-smtp"

	"rastel/policy"
	"rastel/policy/engine"
	"rastel/policy/quarantine"
	"rastel/sanitize/eml"
)

// splitting has a rule for recipients of each kind: banner, hold, quarantine, notice.
const splitting = `
rules:
  - {name: held, for: recipient, when: 'recipient startsWith "held"', then: quarantine, class: private, retention: 3d}
  - {name: marked, for: recipient, when: 'recipient startsWith "marked"', do: [{add_header: {name: X-Marked, value: "yes"}}]}
  - {name: kept, for: recipient, when: 'recipient startsWith "kept"', do: [hold, {add_header: {name: X-Kept, value: "yes"}}]}
  - {name: told, when: 'subject contains "tell"', do: [{notify: {to: [postmaster@example.net], text: "Look at this."}}]}
`

// splitWorld is a world whose policy divides recipients.
func splitWorld(t *testing.T, text string, change func(*engine.Options)) *world {
	t.Helper()
	p, err := policy.Load("test", []byte(text), policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return newWorld(t, quarantine.Config{}, func(o *engine.Options) {
		o.Policy = func() *policy.Policy { return p }
		if change != nil {
			change(o)
		}
	})
}

// judgeFor gives the verdict about a message for these recipients.
func (w *world) judgeFor(t *testing.T, raw string, to ...string) *policy.Verdict {
	t.Helper()
	env := envelope()
	env.Recipients = to
	v, err := w.Judge(t.Context(), env, spool(t, raw))
	if err != nil {
		t.Fatalf("Judge(%.100q): %v", raw, err)
	}
	return v
}

// stored tells what is in the store: state, purpose, recipients, rule and class of each item, sorted.
func (w *world) stored(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, it := range w.held(t) {
		out = append(out, strings.Join(strings.Fields(fmt.Sprint(it.State, " ", it.Purpose, " ", it.Recipients, " ", it.Rule, " ", it.Class)), " "))
	}
	slices.Sort(out)
	return out
}

func identified(subject, body string) string {
	return "Subject: " + subject + "\r\nMessage-ID: <1@x.example>\r\n\r\n" + body + "\r\n"
}

func TestEveryRecipientIsProvidedFor(t *testing.T) {
	w := splitWorld(t, splitting, nil)
	raw := identified("tell", "good")
	to := []string{"plain@example.net", "held@example.net", "marked@example.net", "kept@example.net", "held2@example.net"}
	want := []string{
		"held [held@example.net held2@example.net] held private",
		"held [kept@example.net]",
		"queued copy [kept@example.net]",
		"queued copy [marked@example.net]",
		"queued notice [postmaster@example.net] told",
	}
	for n := range 3 { // the sender tries again: nothing is stored twice
		v := w.judgeFor(t, raw, to...)
		if v.Action != policy.Accept || !v.Patch.Empty() || !slices.Equal(v.Remove, []string{"held@example.net", "marked@example.net", "kept@example.net", "held2@example.net"}) {
			t.Fatalf("verdict %+v", v)
		}
		if got := w.stored(t); !slices.Equal(got, want) {
			t.Fatalf("after %d tries there are\n%s\nwant\n%s", n+1, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	for _, it := range w.held(t) {
		switch {
		case it.State == quarantine.Held:
			w.wantRaw(t, it.ID, raw)
			if kept := it.Expires.Sub(it.Created).Hours(); it.Class == "private" && (kept < 72 || kept > 73) {
				t.Errorf("kept for %v hours, want 72", kept)
			}
		case it.Purpose == quarantine.ForCopy && it.Recipients[0] == "marked@example.net":
			w.wantRaw(t, it.ID, strings.Replace(raw, "\r\n\r\n", "\r\nX-Marked: yes\r\n\r\n", 1))
		case it.Purpose == quarantine.ForCopy:
			w.wantRaw(t, it.ID, strings.Replace(raw, "\r\n\r\n", "\r\nX-Kept: yes\r\n\r\n", 1))
		case it.Sender != "":
			t.Errorf("the notice has the sender %q", it.Sender)
		}
	}
}

// TestCopiesForOneAddressAreTwo: recipients that are redirected to the same address, with different changes, are two
// messages for it, also when the sender tries again and names them in another order.
func TestCopiesForOneAddressAreTwo(t *testing.T) {
	w := splitWorld(t, `
rules:
  - {name: a, for: recipient, when: 'recipient startsWith "ann"', do: [{redirect: boss@example.net}, {add_header: {name: X-For, value: ann}}]}
  - {name: b, for: recipient, when: 'recipient startsWith "bob"', do: [{redirect: boss@example.net}, {add_header: {name: X-For, value: bob}}]}
`, nil)
	raw := identified("hello", "good")
	for _, to := range [][]string{{"zoe@example.net", "ann@example.net", "ann2@example.net", "bob@example.net"}, {"zoe@example.net", "bob@example.net", "ann2@example.net", "ann@example.net"}} {
		v := w.judgeFor(t, raw, to...)
		if v.Action != policy.Accept {
			t.Fatalf("verdict %+v", v)
		}
	}
	got := w.stored(t)
	if want := []string{"queued copy [boss@example.net]", "queued copy [boss@example.net]"}; !slices.Equal(got, want) {
		t.Errorf("there are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// One copy is kept for all who get the message while it is, and all their notices name it; also those of a copy
// that is sent, and when the sender tries again.
func TestCopiesNameTheItemThatIsKept(t *testing.T) {
	p, err := policy.Load("test", []byte(`rules:
- {name: strip, for: part, when: 'true', do: [strip]}
- {name: kept, for: recipient, when: 'recipient startsWith "kept"', do: [hold]}
- {name: marked, for: recipient, when: 'recipient startsWith "kept2"', do: [{add_header: {name: X-Marked, value: "yes"}}]}
`), policy.Options{Editor: naming{}})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, quarantine.Config{}, func(o *engine.Options) { o.Policy = func() *policy.Policy { return p } })
	for range 2 {
		v := w.judgeFor(t, identified("x", "good"), "kept1@example.net", "kept2@example.net")
		held, copied := "", ""
		for _, it := range w.held(t) {
			if it.State == quarantine.Held {
				held = it.ID
				if len(it.Recipients) != 2 || !it.Held {
					t.Errorf("held %+v, want a copy for both", it)
				}
				w.wantRaw(t, it.ID, identified("x", "good"))
			} else {
				copied = it.ID
			}
		}
		if n := len(w.held(t)); n != 2 {
			t.Fatalf("%d items, want the kept one and a copy: %q", n, w.stored(t))
		}
		w.wantRaw(t, copied, "Subject: x\r\nMessage-ID: <1@x.example>\r\nX-Marked: yes\r\n\r\nkept as "+held+".\r\n")
		var out strings.Builder
		if body := v.Patch.Body(); body == nil {
			t.Error("the message itself is not changed")
		} else if _, err := body.WriteTo(&out); err != nil || out.String() != "kept as "+held+".\r\n" {
			t.Errorf("delivered %q, %v; want the item %s", &out, err, held)
		}
	}
}

// What the filter has sent comes back to it, and goes through as it is.
func TestSentMessagesAreNotJudgedAgain(t *testing.T) {
	p, err := policy.Load("test", []byte(splitting+`  - {name: again, when: 'header("X-Marked") != ""', then: quarantine}
`), policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, quarantine.Config{Release: quarantine.ReleaseConfig{SMTP: l.Addr().String()}}, func(o *engine.Options) {
		o.Policy = func() *policy.Policy { return p }
	})
	verdicts := make(chan *policy.Verdict, 1)
	bodies := make(chan string, 1)
	srv := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) {
		return comeback{judge: func(raw string) {
			bodies <- raw
			verdicts <- w.judgeFor(t, raw, "marked@example.net")
		}}, nil
	}))
	srv.Domain = "comeback"
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	defer func() { srv.Close(); <-served }()

	raw := identified("x", "good")
	w.judgeFor(t, raw, "plain@example.net", "marked@example.net")
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan struct{})
	go func() { defer close(ran); w.store.RunOutbox(ctx) }()
	defer func() { cancel(); <-ran }()
	sent, v := <-bodies, <-verdicts
	if _, body, ok := strings.Cut(sent, "\r\n"); !ok || body != strings.Replace(raw, "\r\n\r\n", "\r\nX-Marked: yes\r\n\r\n", 1) {
		t.Errorf("sent %q", sent)
	}
	fields := v.Patch.Fields()
	if v.Action != policy.Accept || v.Rule != "sent by the filter" || len(v.Others) > 0 || v.Patch.Body() != nil || len(fields) != 1 || fields[0].Name != quarantine.TokenField {
		t.Errorf("verdict %+v, changes %v; want it accepted, and the token taken off", v, fields)
	}
	if got := w.judgeFor(t, strings.TrimPrefix(sent, sent[:strings.Index(sent, "\r\n")+2]), "marked@example.net"); got.Action != policy.Quarantine {
		t.Errorf("without the token: %s, want quarantine", got.Action)
	}
}

// Without a Message-ID two messages may be equal to the last byte, and both are sent.
func TestMessagesWithoutIDAreNotTakenForOne(t *testing.T) {
	w := splitWorld(t, splitting, nil)
	for n := range 2 {
		w.judgeFor(t, mail("x", "good"), "plain@example.net", "marked@example.net")
		if got := len(w.stored(t)); got != n+1 {
			t.Errorf("after %d messages %d copies are queued", n+1, got)
		}
	}
}

// failingAt fails at one call, counted from 1, of those that store.
type failingAt struct {
	engine.Quarantine
	at, calls int
}

func (f *failingAt) fail() error {
	if f.calls++; f.calls == f.at {
		return errors.New("no space left on device")
	}
	return nil
}

func (f *failingAt) Hold(ctx context.Context, it *quarantine.Item, r io.Reader) error {
	if err := f.fail(); err != nil {
		return err
	}
	return f.Quarantine.Hold(ctx, it, r)
}

func (f *failingAt) Queue(ctx context.Context, it *quarantine.Item, r io.Reader) error {
	if err := f.fail(); err != nil {
		_, _ = io.CopyN(io.Discard, r, 3) // as a disk that is full after some bytes
		return err
	}
	return f.Quarantine.Queue(ctx, it, r)
}

// Wherever it fails, all recipients are refused for now, and the next try completes what is missing.
func TestWhatCannotBeStoredRefusesAll(t *testing.T) {
	raw := identified("tell", strings.Repeat("good\r\n", 20_000))
	to := []string{"plain@example.net", "held@example.net", "marked@example.net", "kept@example.net"}
	for at := 1; ; at++ {
		f := &failingAt{at: at}
		w := splitWorld(t, splitting, func(o *engine.Options) { f.Quarantine, o.Quarantine = o.Quarantine, f })
		v := w.judgeFor(t, raw, to...)
		if v.Action == policy.Accept {
			if at != 6 {
				t.Errorf("there are %d steps, want 5", at-1)
			}
			return
		}
		if v.Action != policy.TempFail || len(v.Others)+len(v.Remove)+len(v.Add)+len(v.Notices) > 0 || !v.Patch.Empty() {
			t.Errorf("step %d fails: verdict %+v, want tempfail and nothing else", at, v)
		}
		if n := len(w.stored(t)); n != at-1 {
			t.Errorf("step %d fails: %d items are stored, want %d", at, n, at-1)
		}
		if v := w.judgeFor(t, raw, to...); v.Action != policy.Accept || len(w.stored(t)) != 5 {
			t.Errorf("step %d failed: the next try gives %s and %q", at, v.Action, w.stored(t))
		}
	}
}

// TestNoticeIsHarmless: whatever the sender writes, the notice is the message that we meant.
func TestNoticeIsHarmless(t *testing.T) {
	w := splitWorld(t, `
rules:
  - {name: "böse", when: 'has("words/bad")', then: quarantine, do: [{notify: {to: [a@example.net, b@example.net], full: yes, text: "First line\nSecond line"}}]}
`, nil)
	evil := "Subject: =?utf-8?Q?a=0D=0ABcc:_x@example.org=0D=0A=0D=0Ainjected=1B[31m=E2=80=AE?=\r\nFrom: \"x\x1b[2J\" <x@x.example>\r\n" +
		"X-Long: " + strings.Repeat("y", 50_000) + "\r\nMessage-ID: <1@x.example>\r\n\r\nbad\r\n"
	if v := w.judgeFor(t, evil, "bob@example.net"); v.Action != policy.Quarantine {
		t.Fatalf("verdict %+v", v)
	}
	raw, held := "", ""
	for _, it := range w.held(t) {
		if it.Purpose != quarantine.ForNotice {
			held = it.ID
			continue
		}
		r, err := w.store.Open(t.Context(), it.ID)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if raw = string(b); err != nil || it.Sender != "" || !slices.Equal(it.Recipients, []string{"a@example.net", "b@example.net"}) {
			t.Errorf("notice %+v, %v", it, err)
		}
		r.Close()
	}
	m, text := noticeOf(t, raw)
	for name, want := range map[string]string{"To": "a@example.net, b@example.net", "Auto-Submitted": "auto-generated", "Subject": "Mail filter: quarantine, rule böse", "Bcc": ""} {
		if got := m.Root.Header.Text(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if from := m.Root.Header.Text("From"); !strings.HasPrefix(from, "Mail filter <postmaster@") {
		t.Errorf("From is %q", from)
	}
	for _, want := range []string{"First line\r\nSecond line\r\n", "Item:       " + held + "\r\n", "Action:     quarantine\r\n", "words/bad in part 1\r\n", "Recipient:  <bob@example.net>\r\n", "| Subject: =?utf-8?Q?a", "| ...\r\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("the notice lacks %q:\n%.3000s", want, text)
		}
	}
	for _, bad := range []string{"\x1b", "\u202e", "\r\nBcc", "\r\ninjected"} {
		if strings.Contains(text, bad) {
			t.Errorf("the notice has %q", bad)
		}
	}
	if len(raw) > 60_000 {
		t.Errorf("the notice has %d bytes", len(raw))
	}
	for line := range strings.Lines(raw) {
		if len(line) > 100 || !strings.HasSuffix(line, "\r\n") {
			t.Errorf("line %.120q of %d bytes", line, len(line))
		}
	}
}

// noticeOf is a message, and its text.
func noticeOf(t *testing.T, raw string) (*eml.Message, string) {
	t.Helper()
	m, findings, err := eml.Parse(t.Context(), &eml.Envelope{}, spool(t, raw), eml.Limits{}, nil)
	if err != nil || len(findings) > 0 {
		t.Fatalf("Parse: %v, %v", findings, err)
	}
	t.Cleanup(m.Close)
	var text bytes.Buffer
	if _, err := io.Copy(&text, m.Root.Content()); err != nil {
		t.Fatal(err)
	}
	return m, text.String()
}

// A flood of messages makes no flood of notices, and the next notice tells of it.
func TestNoticesAreLimited(t *testing.T) {
	now := engine.Clock{}
	w := splitWorld(t, splitting, func(o *engine.Options) { o.Notify.PerHour = 2 })
	now.Set(w.Engine, 0)
	send := func(n int) {
		w.judgeFor(t, fmt.Sprintf("Subject: tell %d\r\nMessage-ID: <%d@x.example>\r\n\r\ngood\r\n", n, n), "plain@example.net")
	}
	for n := range 7 {
		send(n)
		send(n) // the sender tries again
	}
	if got := w.stored(t); len(got) != 2 {
		t.Fatalf("%q, want two notices", got)
	}
	now.Set(w.Engine, 61)
	send(10)
	items := w.held(t)
	if len(items) != 3 {
		t.Fatalf("%d notices an hour later, want 3", len(items))
	}
	r, err := w.store.Open(t.Context(), items[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, _ := io.ReadAll(r)
	if _, text := noticeOf(t, string(b)); !strings.Contains(text, "more such messages before this one") {
		t.Errorf("the notice tells nothing of the others:\n%s", text)
	}
}
