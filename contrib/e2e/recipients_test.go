package e2e

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"rastel/contrib/rig"
)

// routing changes envelopes.
const routing = `rules:
  - {name: gone, for: recipient, when: 'lower(recipient) contains "gone"', do: [remove_recipient]}
  - {name: moved, for: recipient, when: 'recipient startsWith "moved"', do: [{redirect: [new@example.test, "\"new one\"@example.test"]}]}
  - {name: archive, when: 'subject == "archive"', do: [{add_recipient: archive@example.test}]}
  - {name: fields, when: 'subject == "fields"', do: [{set_header: {name: X-Set, value: ours}}, {remove_header: X-Gone}, {remove_recipient: second@example.test}, {tag_subject: "[X]"}]}
  - {name: look, when: 'subject == "look"', do: [{mta_hold: "to be looked at"}, {add_header: {name: X-Held, value: "yes"}}]}
  - {name: malware, when: 'has("clamd/malware")', then: reject}
`

// sendTo sends a message to several recipients in a session of its own, and wants it to be taken.
func (w *world) sendTo(raw []byte, to ...string) {
	w.t.Helper()
	if r, err := rig.Send(w.mta.SMTP(), sender, to, raw); err != nil || r.Code != 250 || r.Verb != "." {
		w.t.Fatalf("reply to a message for %q: %v, %v, want 250", to, r, err)
	}
}

// wantOnlyTo wants exactly these recipients to get what is delivered next, whatever in how many
// transactions, and gives the messages.
func (w *world) wantOnlyTo(before int, to ...string) []rig.Delivery {
	w.t.Helper()
	got := w.delivered()[before:]
	var all []string
	for _, d := range got {
		all = append(all, d.Recipients...)
	}
	slices.Sort(all)
	if slices.Sort(to); !slices.Equal(all, to) {
		w.t.Errorf("delivered to %q, want %q", all, to)
	}
	return got
}

func TestRecipientsAreRemovedRedirectedAndAdded(t *testing.T) {
	eachMTA(t, func(t *testing.T, mta string) {
		w := newWorld(t, setup{mta: mta, policy: routing})
		for _, tt := range []struct {
			subject  string
			to, want []string
		}{
			{"none", withDomain("first second"), withDomain("first second")},
			{"one", withDomain("first gone second"), withDomain("first second")},
			{"one at the beginning", withDomain("gone first"), withDomain("first")},
			{"several", withDomain("gone1 first gone2 gone3"), withDomain("first")},
			{"all", withDomain("gone1 gone2"), nil},
			{"quoted", []string{`"gone by"@` + rig.Domain, `"first one"@` + rig.Domain}, []string{`"first one"@` + rig.Domain}},
			{"with a tag", withDomain("gone+tag first+tag"), withDomain("first+tag")},
			{"one mailbox twice", withDomain("gone GONE first"), withDomain("first")},
			{"redirected", withDomain("first moved"), append(withDomain("first new"), `"new one"@`+rig.Domain)},
			{"all redirected to one who gets it", withDomain("moved new"), append(withDomain("new"), `"new one"@`+rig.Domain)},
			{"archive", withDomain("first second"), withDomain("first second archive")},
			{"archive", withDomain("archive second"), withDomain("archive second")},
			{"archive", withDomain("gone first"), withDomain("first archive")},
			{"fields", withDomain("first second"), withDomain("first")},
		} {
			t.Run(strings.ReplaceAll(tt.subject, " ", "-"), func(t *testing.T) {
				w := w.in(t)
				before := len(w.sink.Deliveries())
				raw := rig.Text(tt.subject, "hello\r\n")
				if tt.subject == "fields" {
					raw = append([]byte("X-Set: theirs\r\nX-Gone: 1\r\nX-set: more\r\nX-Gone: 2\r\n"), raw...)
				}
				w.sendTo(raw, tt.to...)
				for _, d := range w.wantOnlyTo(before, tt.want...) {
					if tt.subject != "fields" {
						continue
					}
					header, _ := splitHeader(d.Raw)
					if countField(header, "x-set") != 1 || !strings.Contains(header, "X-Set: ours\r\n") || hasField(header, "x-gone") || !strings.Contains(header, "Subject: [X] fields\r\n") {
						t.Errorf("delivered with\n%s", header)
					}
				}
			})
		}
	})
}

// TestRecipientsAsClientsWriteThem: without angle brackets, and with what they ask for besides.
func TestRecipientsAsClientsWriteThem(t *testing.T) {
	eachMTA(t, func(t *testing.T, mta string) {
		w := newWorld(t, setup{mta: mta, policy: routing})
		c := w.dial()
		w.do(c, 250, "MAIL FROM:<"+sender+">", "RCPT TO:gone1@example.test", "RCPT TO: <gone2@example.test> NOTIFY=NEVER", "RCPT TO:<first@example.test>")
		w.do(c, 354, "DATA")
		if r, err := c.Content(rig.Text("x", "hello\r\n")); err != nil || r.Code != 250 {
			t.Fatalf("reply %v, %v, want 250", r, err)
		}
		w.wantOnlyTo(0, "first@example.test")
	})
}

// TestOddAddressesAreRemovedToo: the MTA may know a recipient by another spelling than it has told us.
func TestOddAddressesAreRemovedToo(t *testing.T) {
	eachMTA(t, func(t *testing.T, mta string) {
		w := newWorld(t, setup{mta: mta, policy: routing})
		for i, odd := range []string{
			"<gone>", "<GONE@Example.TEST>", "<@a.test,@b.test:gone@example.test>", `<"gone"@example.test>`, "<gone%x@example.test>", "<gone@[127.0.0.1]>",
			"<gone@example.test.>", `<"go\ne gone"@example.test>`, "<gone(x)@example.test>", "<gone@EXAMPLE.test >", "< gone@example.test>", "<gone!x@example.test>",
			`<@a.test:"gone with"@example.test>`, `<"gone@a.test"@example.test>`, `<gone."with".dots@example.test>`,
		} {
			c, before := w.dial(), len(w.sink.Deliveries())
			w.do(c, 250, "MAIL FROM:<"+sender+">", "RCPT TO:<first@example.test>")
			if r, err := c.Cmd("RCPT TO:" + odd); err != nil || r.Code != 250 {
				t.Errorf("%s: reply %v, %v", odd, r, err)
			}
			w.do(c, 250, "RCPT TO:<second@example.test>")
			w.do(c, 354, "DATA")
			if r, err := c.Content(rig.Text(fmt.Sprint("odd ", i), "hello\r\n")); err != nil || r.Code != 250 {
				t.Fatalf("reply %v, %v, want 250", r, err)
			}
			w.wantOnlyTo(before, "first@example.test", "second@example.test")
			c.Close()
		}
	})
}

// TestSpellingsOfOneRecipient: the MTAs deliver all of these to one mailbox, so a rule about it holds for all of them.
func TestSpellingsOfOneRecipient(t *testing.T) {
	eachMTA(t, func(t *testing.T, mta string) {
		w := newWorld(t, setup{mta: mta, policy: `rules:
  - {name: gone, for: recipient, when: 'recipient == "gone@example.test" and recipient_domain == "example.test" and subject == "remove"', do: [remove_recipient]}
`})
		for _, s := range []string{
			"<gone@example.test>", "<@a.test,@b.test:gone@example.test>", `<"gone"@example.test>`, "<gone@example.test.>", `<"go\ne"@example.test>`,
			"<gone(x)@example.test>", "<(x)gone@example.test>", "<gone@example.test(x)>", "< gone@example.test >", "<gone%example.test>", "<example.test!gone>", "gone@example.test",
		} {
			for _, subject := range []string{"keep", "remove"} {
				c, before := w.dial(), len(w.sink.Deliveries())
				w.do(c, 250, "MAIL FROM:<"+sender+">", "RCPT TO:<first@example.test>")
				r, err := c.Cmd("RCPT TO:" + s)
				if err != nil {
					t.Fatal(err)
				}
				w.do(c, 354, "DATA")
				if r, err := c.Content(rig.Text(subject, "hello\r\n")); err != nil || r.Code != 250 {
					t.Fatalf("reply %v, %v, want 250", r, err)
				}
				c.Close()
				want := []string{"first@example.test"}
				switch {
				case subject == "remove" || r.Code != 250:
				case mta == rig.NeedSendmail && strings.Contains(s, `"`): // it leaves the quotes to the next host
					want = append(want, strings.Trim(s, "<>"))
				default:
					want = append(want, "gone@example.test")
				}
				w.wantOnlyTo(before, want...)
			}
		}
	})
}

// TestTheMTAKeepsWhatItIsToHold: "postqueue -p" shows a "!" behind its queue id, and nothing is delivered
// until somebody lets it go.
func TestTheMTAKeepsWhatItIsToHold(t *testing.T) {
	eachMTA(t, func(t *testing.T, mta string) {
		w := newWorld(t, setup{mta: mta, policy: routing})
		w.sendTo(rig.Text("look", "hello\r\n"), "first@"+rig.Domain, "gone@"+rig.Domain)
		left, err := rig.WaitIdle(w.mta, deliveryTimeout)
		if err != nil || len(left) != 1 || left[0].Queue != "hold" {
			t.Fatalf("in the queue: %v, %v, want one message on hold", left, err)
		}
		if got := w.sink.Deliveries(); len(got) > 0 {
			t.Errorf("delivered: %q", got)
		}
		shown, err := w.mta.Show()
		if want := map[string]string{rig.NeedPostfix: left[0].ID + "!", rig.NeedSendmail: "to be looked at"}[mta]; err != nil || !strings.Contains(shown, want) {
			t.Errorf("the queue is shown as, %v\n%s\nwant %q", err, shown, want)
		}
		if strings.Contains(shown, "gone@") || !strings.Contains(shown, "first@") {
			t.Errorf("the recipients are\n%s", shown)
		}
		if err := w.mta.LetGo(left[0].ID); err != nil {
			t.Fatal(err)
		}
		got := w.wantOnlyTo(0, "first@"+rig.Domain)
		if len(got) != 1 || !bytes.Contains(got[0].Raw, []byte("X-Held: yes\r\n")) {
			t.Errorf("delivered: %q", got)
		}
	})
}

// TestRecipientsBehindAliases: a recipient is removed with all that it stands for, and nobody else, though
// the alias stands for others too.
func TestRecipientsBehindAliases(t *testing.T) {
	needServers(t)
	aliases := "virtual_alias_maps = inline:{ {gone@example.test = ann@example.test, bob@example.test}, {team@example.test = bob@example.test, zoe@example.test}, {new@example.test = adam@example.test} }"
	w := newWorld(t, setup{policy: routing, postfix: []string{aliases}})
	for i, tt := range []struct{ to, want []string }{
		{[]string{"gone@example.test", "team@example.test"}, []string{"bob@example.test", "zoe@example.test"}},
		{[]string{"gone@example.test", "ann@example.test"}, []string{"ann@example.test"}},
		{[]string{"moved@example.test", "first@example.test"}, []string{"adam@example.test", `"new one"@example.test`, "first@example.test"}},
	} {
		before := len(w.sink.Deliveries())
		w.sendTo(rig.Text(fmt.Sprint("message ", i), "hello\r\n"), tt.to...)
		w.wantOnlyTo(before, tt.want...)
	}
}

// TestVirtualUsersOfSendmail: it knows recipients by what they stand for, so one that is removed takes with it others
// that stand for the same.
func TestVirtualUsersOfSendmail(t *testing.T) {
	needServers(t)
	users := "gone@example.test bob@other.test\nteam@example.test bob@other.test\nsolo@example.test ann@other.test\nnew@example.test adam@other.test\n"
	w := newWorld(t, setup{mta: rig.NeedSendmail, policy: routing, virtualUsers: users})
	for i, tt := range []struct{ to, want []string }{
		{[]string{"solo@example.test", "first@example.test"}, []string{"ann@other.test", "first@example.test"}},
		{[]string{"gone@example.test", "first@example.test"}, []string{"first@example.test"}},
		{[]string{"gone@example.test", "team@example.test"}, []string{"bob@other.test"}},
		{[]string{"team@example.test", "gone@example.test"}, []string{"bob@other.test"}},
		{[]string{"gone@example.test", "bob@other.test", "first@example.test"}, []string{"bob@other.test", "first@example.test"}},
		{[]string{"moved@example.test", "first@example.test"}, []string{"adam@other.test", `"new one"@example.test`, "first@example.test"}},
	} {
		before := len(w.sink.Deliveries())
		w.sendTo(rig.Text(fmt.Sprint("message ", i), "hello\r\n"), tt.to...)
		w.wantOnlyTo(before, tt.want...)
	}
}

// apart has an outcome for each recipient.
const apart = `rules:
  - {name: full, for: recipient, when: 'recipient startsWith "full"', then: tempfail}
  - {name: bad, for: recipient, when: 'recipient startsWith "bad"', then: quarantine}
  - {name: closed, for: recipient, when: 'recipient startsWith "closed"', then: reject, reply: {text: "not here"}}
  - {name: trap, for: recipient, when: 'recipient startsWith "trap"', then: discard}
`

func TestOutcomesOfEachRecipient(t *testing.T) {
	eachMTA(t, func(t *testing.T, mta string) {
		w := newWorld(t, setup{mta: mta, policy: apart})
		for _, tt := range []struct {
			to, want string // between blanks, without the domain
			held     string // recipients of each item
			code     int
		}{
			{"first bad closed trap second", "first second", "bad, closed", 250},
			{"bad first", "first", "bad", 250},
			{"bad trap closed", "", "bad, closed", 250},
			{"bad1 bad2", "", "bad1 bad2", 250},
			{"trap1 trap2", "", "", 250},
			{"closed1 closed2", "", "", 550},
			{"first bad closed full", "", "", 451},
		} {
			before, items := len(w.sink.Deliveries()), len(w.rastel.quarantine("all"))
			r, err := rig.Send(w.mta.SMTP(), sender, withDomain(tt.to), rig.Text(tt.to, "hello\r\n"))
			if err != nil || r.Code != tt.code {
				t.Errorf("%s: reply %v, %v, want %d", tt.to, r, err, tt.code)
			}
			w.wantOnlyTo(before, withDomain(tt.want)...)
			var held []string
			for _, it := range w.rastel.quarantine("all") {
				held = append(held, strings.ReplaceAll(strings.Join(it.Recipients, " "), "@"+rig.Domain, ""))
			}
			held = held[:len(held)-items] // newest first
			if slices.Sort(held); strings.Join(held, ", ") != tt.held {
				t.Errorf("%s: held for %q, want %q", tt.to, held, tt.held)
			}
		}
	})
}

// withDomain makes addresses of words.
func withDomain(words string) (out []string) {
	for _, w := range strings.Fields(words) {
		out = append(out, w+"@"+rig.Domain)
	}
	return out
}
