package e2e

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"rastel/contrib/rig"
)

const staged = `networks:
  here: [127.0.0.0/8]
rules:
  - {name: listed, stage: mail, when: 'has("dns/domain-listed")', then: reject, reply: {code: 554, text: "Your domain is on a list"}}
  - {name: later, stage: mail, when: 'sender == "later@sender.test"', then: tempfail}
  - {name: gone, stage: rcpt, when: 'recipient == "gone@example.test" and clientIn("here")', then: reject, reply: {text: "100% gone"}}
  - {name: full, stage: rcpt, when: 'recipient == "full@example.test"', then: tempfail, reply: {code: 452, enhanced: "4.2.2"}}
  - {name: malware, when: 'has("clamd/malware")', then: reject}
`

// wantLogged wants one line about what was refused at a stage.
func (w *world) wantLogged(parts ...string) {
	w.t.Helper()
	log, err := os.ReadFile(w.rastel.log)
	if err != nil {
		w.t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(log)) {
		found := strings.Contains(line, "msg=verdict")
		for _, p := range parts {
			found = found && strings.Contains(line, p)
		}
		if found {
			n++
		}
	}
	if n != 1 {
		w.t.Errorf("%d lines with %q, want one:\n%s", n, parts, log)
	}
}

// wantReply wants a reply with that code and text.
func wantReply(t *testing.T, r rig.Reply, err error, code int, text string) {
	t.Helper()
	if err != nil || r.Code != code || !strings.Contains(strings.Join(r.Lines, " "), text) {
		t.Errorf("reply %v, %v; want %d with %q", r, err, code, text)
	}
}

func TestRefusedBeforeTheMessage(t *testing.T) {
	eachMTA(t, func(t *testing.T, mta string) {
		dns, err := rig.StartDNS()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { dns.Stop() })
		if err := dns.Add("listed.test.domains.test. 60 IN A 127.0.1.2"); err != nil {
			t.Fatal(err)
		}
		w := newWorld(t, setup{mta: mta, policy: staged, dns: dns.Addr, domainList: "domains.test"})
		c := w.dial()

		r, err := c.Cmd("MAIL FROM:<ann@listed.test>")
		wantReply(t, r, err, 554, "5.7.1 Your domain is on a list (reference ")
		w.wantLogged("stage=mail", "client=127.0.0.1", "action=reject", "rule=listed", "findings=dns/domain-listed")
		r, err = c.Cmd("MAIL FROM:<later@sender.test>")
		wantReply(t, r, err, 451, "4.7.1 Mail of this sender is not taken from your host for now")

		// One of three is refused for good, one for now; the others get their mail in the same session.
		w.do(c, 250, "MAIL FROM:<"+sender+">", "RCPT TO:<first@example.test>")
		r, err = c.Cmd("RCPT TO:<gone@example.test>")
		wantReply(t, r, err, 550, "100% gone (reference ")
		r, err = c.Cmd("RCPT TO:<full@example.test>")
		wantReply(t, r, err, 452, "Mail for this recipient is not taken for now")
		w.do(c, 250, "RCPT TO:<second@example.test>")
		w.do(c, 354, "DATA")
		clean := rig.Text("clean", "good\r\n")
		r, err = c.Content(clean)
		wantReply(t, r, err, 250, "")
		wantEnvelope(t, w.only("first@example.test"), "first@example.test", "second@example.test")
		w.wantBody("first@example.test", clean)
		w.wantLogged("stage=rcpt", "action=reject", "rule=gone")

		// All recipients are refused: the message is not taken, and the next one is judged as ever.
		w.do(c, 250, "MAIL FROM:<"+sender+">")
		r, err = c.Cmd("RCPT TO:<gone@example.test>")
		wantReply(t, r, err, 550, "gone")
		if r, err = c.Cmd("DATA"); err != nil || r.OK() {
			t.Errorf("reply to DATA without recipients: %v, %v", r, err)
		}
		w.do(c, 250, "RSET")
		w.message(c, 550, "bad@example.test", eicarMessage())
		w.message(c, 250, "third@example.test", clean)
		w.wantNothing("gone@example.test")
		w.wantNothing("full@example.test")
		w.only("third@example.test")

		// The client is one that sticks out: a sender and two recipients that were rejected, and malware.
		if out, status := w.rastel.run("hosts", "-config", w.rastel.config); status != 0 || !regexp.MustCompile(`(?m)^4 +1 +4 .* 127\.0\.0\.1$`).MatchString(out) {
			t.Errorf("rastel hosts: status %d\n%s", status, out)
		}
	})
}

// A client that is refused when it connects gets nothing in, whatever it says.
func TestRefusedClient(t *testing.T) {
	for action, codes := range map[string]string{"reject": "5", "tempfail": "4"} {
		eachMTA(t, func(t *testing.T, mta string) {
			t.Run(action, func(t *testing.T) {
				w := newWorld(t, setup{mta: mta, policy: `rules: [{name: neighbourhood, stage: connect, when: 'clientIn("127.0.0.0/8")', then: ` + action + `}]`})
				c, err := rig.Dial(w.mta.SMTP())
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				t.Logf("greeting: %v", c.Greeting)
				refused := !c.Greeting.OK()
				for _, line := range []string{"EHLO client.test", "MAIL FROM:<" + sender + ">", "RCPT TO:<" + recipient + ">", "DATA"} {
					r, err := c.Cmd(line)
					if err != nil {
						t.Logf("%s: %v", line, err)
						break // the MTA has hung up
					}
					t.Log(r)
					refused = refused || strings.HasPrefix(line, "MAIL") && !r.OK() && r.Code/100 == int(codes[0]-'0')
					if r.Code == 354 {
						t.Fatal("the message may come")
					}
				}
				if !refused {
					t.Error("neither the greeting nor the answer to MAIL was a refusal")
				}
				w.wantLogged("stage=connect", "client=127.0.0.1", "action="+action, "rule=neighbourhood")
				w.wantNothing(recipient)
			})
		})
	}
}
