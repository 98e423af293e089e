package milter

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"rastel/policy"
	"rastel/sanitize/eml"
)

// A gate is a judge that also decides at stages, and remembers what it was asked.
type gate struct {
	recorder
	at func(at eml.Stage, env *eml.Envelope, recipient string) *policy.Verdict

	mu       sync.Mutex
	sessions int
	asked    []string
}

func (g *gate) Stages() func(context.Context, eml.Stage, *eml.Envelope, string) *policy.Verdict {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sessions++
	return func(_ context.Context, at eml.Stage, env *eml.Envelope, recipient string) *policy.Verdict {
		g.mu.Lock()
		g.asked = append(g.asked, fmt.Sprintf("%s client=%s helo=%s tls=%s from=%s to=%s had=%d", at, env.Client, env.Helo, env.TLS, env.Sender, recipient, len(env.Recipients)))
		g.mu.Unlock()
		return g.at(at, env, recipient)
	}
}

func goOn(eml.Stage, *eml.Envelope, string) *policy.Verdict { return nil }

var noThanks = &policy.Verdict{Action: policy.Reject, Reply: policy.Reply{Code: 550, Enhanced: "5.7.1", Text: "no 100%"}}

// wantRefusal wants the reply of noThanks.
func wantRefusal(t *testing.T, p packet, err error) {
	t.Helper()
	if err != nil || p.code != 'y' || p.data != "550 5.7.1 no 100%%\x00" {
		t.Fatalf("got %q %q, %v; want the noThanks", p.code, p.data, err)
	}
}

func TestStagesSeeWhatIsKnown(t *testing.T) {
	forBoth(t, func(t *testing.T, sendmail bool) {
		g := &gate{at: goOn}
		m := start(t, Config{}, g).mta()
		m.sendmail = sendmail
		m.hello()
		for range 2 {
			if _, final := m.deliver(first); final.code != 'a' {
				t.Fatalf("got %v", final)
			}
		}
		message := "mail client=192.0.2.7 helo=client.example tls=TLSv1.3 from=a@one.example to= had=0\n" +
			"rcpt client=192.0.2.7 helo=client.example tls=TLSv1.3 from=a@one.example to=r1@x.example had=0\n" +
			"rcpt client=192.0.2.7 helo=client.example tls=TLSv1.3 from=a@one.example to=r2@x.example had=1\n"
		want := "connect client=192.0.2.7 helo= tls= from= to= had=0\n" + message + message
		if got := strings.Join(g.asked, "\n") + "\n"; got != want || g.sessions != 1 {
			t.Errorf("%d sessions, asked\n%swant\n%s", g.sessions, got, want)
		}
		wantMail(t, g.messages()[1], first)
	})
}

func TestRefusedClientGetsNothingIn(t *testing.T) {
	g := &gate{at: func(at eml.Stage, _ *eml.Envelope, _ string) *policy.Verdict {
		if at == eml.AtConnect {
			return noThanks
		}
		return nil
	}}
	m := start(t, Config{}, g).mta()
	m.negotiate()
	m.send(rawFrame('C', "client.example\x004\x30\x39192.0.2.7\x00"))
	p, err := m.read()
	wantRefusal(t, p, err)
	// An MTA that goes on all the same hears the same again.
	m.ask('H', "client.example")
	m.send(frame('M', "<a@b>"))
	p, err = m.read()
	wantRefusal(t, p, err)
	// Another client on the same connection is another matter.
	m.send(frame('K'))
	m.hello2()
	g.at = goOn
	if len(g.messages()) > 0 {
		t.Error("a message was judged")
	}
}

// hello2 negotiates anew on a connection that is used again.
func (m *mta) hello2() {
	m.t.Helper()
	m.negotiate()
	m.send(rawFrame('C', "client.example\x004\x30\x39192.0.2.8\x00"))
	if p, err := m.read(); err != nil || p.code != 'y' {
		m.t.Fatalf("got %v, %v; want to be asked about", p, err)
	}
}

func TestMessageAfterARefusedSender(t *testing.T) {
	forBoth(t, func(t *testing.T, sendmail bool) {
		g := &gate{at: func(at eml.Stage, env *eml.Envelope, _ string) *policy.Verdict {
			if at == eml.AtMail && env.Sender == "bad@one.example" {
				return noThanks
			}
			return nil
		}}
		m := start(t, Config{}, g).mta()
		m.sendmail = sendmail
		m.hello()
		for range 2 {
			m.send(frame('M', "<bad@one.example>"))
			p, err := m.read()
			wantRefusal(t, p, err)
			if !sendmail {
				m.send(frame('A'))
			}
			if _, final := m.deliver(second); final.code != 'a' {
				t.Fatalf("got %v", final)
			}
		}
		if n := len(g.messages()); n != 2 {
			t.Errorf("%d messages were judged, want 2", n)
		}
		wantMail(t, g.messages()[0], mail{second.id, second.sender, second.rcpts, second.fields, second.body})
	})
}

func TestOneRecipientOfThreeIsRefused(t *testing.T) {
	g := &gate{at: func(at eml.Stage, _ *eml.Envelope, recipient string) *policy.Verdict {
		if at == eml.AtRcpt && recipient == "no@x.example" {
			return noThanks
		}
		return nil
	}}
	m := start(t, Config{}, g).mta()
	m.hello()
	m.ask('M', "<a@one.example>", "SIZE=100")
	m.ask('R', "<r1@x.example>")
	m.send(frame('R', "<no@x.example>"))
	p, err := m.read()
	wantRefusal(t, p, err)
	m.ask('R', "<r2@x.example>")
	m.data(first)
	if _, final := m.finish(); final.code != 'a' {
		t.Fatalf("got %v", final)
	}
	wantMail(t, g.messages()[0], first)
}

// The message is still to be judged, so nobody is refused for a mistake of ours, or an action that has
// no meaning there.
func TestStageThatPanicsLetsTheClientGoOn(t *testing.T) {
	for name, at := range map[string]func(eml.Stage, *eml.Envelope, string) *policy.Verdict{
		"panic":  func(eml.Stage, *eml.Envelope, string) *policy.Verdict { panic("oh") },
		"accept": func(eml.Stage, *eml.Envelope, string) *policy.Verdict { return &policy.Verdict{Action: policy.Accept} },
		"zero":   func(eml.Stage, *eml.Envelope, string) *policy.Verdict { return &policy.Verdict{} },
	} {
		t.Run(name, func(t *testing.T) {
			m := start(t, Config{}, &gate{at: at}).mta()
			m.hello()
			if _, final := m.deliver(first); final.code != 'a' {
				t.Fatalf("got %v", final)
			}
		})
	}
}
