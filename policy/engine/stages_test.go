package engine_test

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"rastel/policy"
	"rastel/policy/engine"
	"rastel/policy/quarantine"
	"rastel/sanitize/eml"
	"rastel/scanners"
)

// network is a scanner of envelopes: a sender "listed@..." is on a list, and one "slow@..." takes all
// the time there is.
type network struct{ words }

var begun, scanned atomic.Int32

func (network) Checks() []eml.Check {
	return []eml.Check{{ID: "net/listed", From: eml.AtConnect, Doc: "It is."}, {ID: "net/unknown", From: eml.AtConnect, Doc: "It is not known."}}
}

func (network) BeginEnvelope(eml.Stage, *eml.Envelope) { begun.Add(1) }

func (network) ScanEnvelope(ctx context.Context, at eml.Stage, env *eml.Envelope) []eml.Finding {
	scanned.Add(1)
	local, _, _ := strings.Cut(env.Sender, "@")
	switch local {
	case "listed":
		return []eml.Finding{{Check: "net/listed", Detail: at.String()}}
	case "slow":
		<-ctx.Done()
		return []eml.Finding{{Check: "net/unknown"}}
	case "panic":
		panic("oh")
	}
	return nil
}

const stageRules = `
rules:
  - {name: client, stage: connect, when: 'client == "192.0.2.66"', then: reject}
  - {name: later, stage: mail, when: 'has("net/unknown")', then: tempfail}
  - {name: listed, stage: mail, when: 'has("net/listed") and sender_domain == "mail.example"', then: reject, reply: {code: 554, text: "You are on a list"}}
  - {name: listed for one, stage: rcpt, when: 'has("net/listed") and recipient == "no@example.net"', then: reject}
  - {name: number, stage: rcpt, when: 'int(recipient_domain) > 0', then: reject}
`

func stageWorld(t *testing.T) *world {
	t.Helper()
	p, err := policy.Load("test", []byte(stageRules), policy.Options{Checks: network{}.Checks()})
	if err != nil {
		t.Fatal(err)
	}
	return newWorld(t, quarantine.Config{}, func(o *engine.Options) {
		o.Set = scanners.NewSet(scanners.Options{}, scanners.Named{Name: "network", Scanner: network{}, Waits: true})
		o.Policy = func() *policy.Policy { return p }
	})
}

func TestStagesDecide(t *testing.T) {
	w := stageWorld(t)
	for _, c := range []struct {
		client, sender, recipient string
		at                        eml.Stage
		want                      string // "" means that the client goes on
	}{
		{"192.0.2.66", "", "", eml.AtConnect, "reject client Mail from your host is not taken (reference S1)"},
		{"192.0.2.1", "", "", eml.AtConnect, ""},
		{"192.0.2.1", "ann@mail.example", "", eml.AtMail, ""},
		{"192.0.2.1", "listed@mail.example", "", eml.AtMail, "reject listed You are on a list (reference S1)"},
		{"192.0.2.1", "slow@x.example", "", eml.AtMail, "tempfail later Mail of this sender is not taken from your host for now; try again later (reference S1)"},
		{"192.0.2.1", "panic@x.example", "", eml.AtMail, ""},
		{"192.0.2.1", "listed@x.example", "no@example.net", eml.AtRcpt, "reject listed for one Mail for this recipient is not taken (reference S1)"},
		{"192.0.2.1", "listed@x.example", "yes@example.net", eml.AtRcpt, ""},
		{"192.0.2.1", "ann@x.example", "no@example.net", eml.AtRcpt, ""},
	} {
		env := &eml.Envelope{Session: "S1", Client: netip.MustParseAddr(c.client), Sender: c.sender}
		got, start := "", time.Now()
		if v := w.Stages()(t.Context(), c.at, env, c.recipient); v != nil {
			got = v.Action.String() + " " + v.Rule + " " + v.Reply.Text
		}
		if got != c.want {
			t.Errorf("%s %s %q: got %q, want %q", c.at, c.sender, c.recipient, got, c.want)
		}
		if took := time.Since(start); took > time.Minute {
			t.Errorf("%s %s: took %v", c.at, c.sender, took)
		}
	}
	for _, line := range []string{
		`msg=verdict queue_id="" session=S1 stage=connect client=192.0.2.66 action=reject rule=client`,
		`stage=rcpt client=192.0.2.1 action=reject rule="listed for one" rules="listed for one" findings=net/listed`,
		`level=WARN msg="rule could not be evaluated" session=S1 stage=rcpt rule=number`,
	} {
		if !strings.Contains(w.log.String(), line) {
			t.Errorf("the log has no %s:\n%s", line, w.log.String())
		}
	}
}

// counts are a Senders that remembers.
type counts struct{ got []string }

func (c *counts) Count(host netip.Addr, user string, infected, refused bool) {
	c.got = append(c.got, fmt.Sprint(host, " ", user, " ", infected, " ", refused))
}

func TestSendersAreCounted(t *testing.T) {
	c := &counts{}
	p, err := policy.Load("test", []byte(`rules: [{name: x, stage: mail, when: 'sender == "no@b"', then: reject}, {name: y, when: 'has("words/bad")', then: quarantine}]`), policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, quarantine.Config{}, func(o *engine.Options) {
		o.Senders, o.Policy = c, func() *policy.Policy { return p }
		o.Set = scanners.NewSet(scanners.Options{}, scanners.Named{Name: "words", Scanner: words{}}, scanners.Named{Name: "malware", Scanner: malware{}})
		o.Host = func(*eml.Message) netip.Addr { return netip.MustParseAddr("203.0.113.1") }
	})
	for _, text := range []string{"Subject: x\r\n\r\nbad\r\n", "Subject: x\r\n\r\ngood\r\n", "Subject: x\r\n\r\nmalware\r\n"} {
		w.judge(t, text)
	}
	w.Stages()(t.Context(), eml.AtMail, &eml.Envelope{Client: netip.MustParseAddr("192.0.2.1"), AuthUser: "ann", Sender: "no@b"}, "")
	want := "203.0.113.1  false true\n203.0.113.1  false false\n203.0.113.1  true false\n192.0.2.1 ann false true"
	if got := strings.Join(c.got, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// malware finds it where it is named.
type malware struct{}

func (malware) Checks() []eml.Check { return []eml.Check{{ID: "fake/malware", Doc: "It says so."}} }

func (malware) Scan(_ context.Context, p *eml.Part) ([]eml.Finding, error) {
	text, err := io.ReadAll(p.Content())
	if err != nil || !strings.Contains(string(text), "malware") {
		return nil, err
	}
	return []eml.Finding{{Check: "fake/malware"}}, nil
}

// However many stages and recipients there are, a session waits no longer than it may, and the
// envelope is looked at once for all recipients.
func TestSessionWaitsOnceForWhatIsNotKnown(t *testing.T) {
	decide := stageWorld(t).Stages()
	env := &eml.Envelope{Client: netip.MustParseAddr("192.0.2.1"), Sender: "slow@x.example"}
	begun.Store(0)
	scanned.Store(0)
	start := time.Now()
	for range 3 {
		decide(t.Context(), eml.AtMail, env, "")
		for range 5 {
			decide(t.Context(), eml.AtRcpt, env, "a@example.net")
		}
	}
	t.Logf("three messages of a session took %v", time.Since(start))
	if begun.Load() != 3 || scanned.Load() != 3 {
		t.Errorf("the envelope was begun %d times and looked at %d times, want 3", begun.Load(), scanned.Load())
	}
}

// One policy decides all stages of a session.
func TestReloadIsForTheNextSession(t *testing.T) {
	var current atomic.Pointer[policy.Policy]
	load := func(text string) {
		p, err := policy.Load("test", []byte("rules: [{name: x, stage: mail, when: '"+text+"', then: reject}]"), policy.Options{})
		if err != nil {
			t.Fatal(err)
		}
		current.Store(p)
	}
	load("true")
	e := engine.New(engine.Options{Set: scanners.NewSet(scanners.Options{}), Policy: current.Load})
	first := e.Stages()
	load("false")
	env := &eml.Envelope{Sender: "a@b.example"}
	if first(t.Context(), eml.AtMail, env, "") == nil || e.Stages()(t.Context(), eml.AtMail, env, "") != nil {
		t.Error("the policy changed within a session")
	}
}
