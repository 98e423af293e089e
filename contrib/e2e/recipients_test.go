package e2e

import (
	"bytes"
	"fmt"
	"os"
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
		at := func(names ...string) (out []string) {
			for _, n := range names {
				out = append(out, n+"@"+rig.Domain)
			}
			return out
		}
		for _, tt := range []struct {
			subject  string
			to, want []string
		}{
			{"none", at("first", "second"), at("first", "second")},
			{"one", at("first", "gone", "second"), at("first", "second")},
			{"one at the beginning", at("gone", "first"), at("first")},
			{"several", at("gone1", "first", "gone2", "gone3"), at("first")},
			{"all", at("gone1", "gone2"), nil},
			{"quoted", []string{`"gone by"@` + rig.Domain, `"first one"@` + rig.Domain}, []string{`"first one"@` + rig.Domain}},
			{"with a tag", at("gone+tag", "first+tag"), at("first+tag")},
			{"one mailbox twice", at("gone", "GONE", "first"), at("first")},
			{"redirected", at("first", "moved"), append(at("first", "new"), `"new one"@`+rig.Domain)},
			{"all redirected to one who gets it", at("moved", "new"), append(at("new"), `"new one"@`+rig.Domain)},
			{"archive", at("first", "second"), at("first", "second", "archive")},
			{"archive", at("archive", "second"), at("archive", "second")},
			{"archive", at("gone", "first"), at("first", "archive")},
			{"fields", at("first", "second"), at("first")},
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

// TestSeveralVerdictsAreNotHalfCarriedOut: what cannot be done for some of the recipients is not done for
// the others and forgotten.
func TestSeveralVerdictsAreNotHalfCarriedOut(t *testing.T) {
	needServers(t)
	w := newWorld(t, setup{policy: `rules: [{name: r, for: recipient, when: 'recipient startsWith "bad"', then: quarantine}]`})
	r, err := rig.Send(w.mta.SMTP(), sender, []string{"bad@example.test", "first@example.test"}, rig.Text("x", "hello\r\n"))
	if err != nil || r.Code != 451 {
		t.Errorf("reply %v, %v, want 451", r, err)
	}
	if got, items := w.delivered(), w.rastel.quarantine("all"); len(got)+len(items) > 0 {
		t.Errorf("delivered %v, held %v", got, items)
	}
	if log, err := os.ReadFile(w.rastel.log); err != nil || !strings.Contains(string(log), "several verdicts") {
		t.Errorf("the log says, %v\n%s", err, log)
	}
	w.sendTo(rig.Text("x", "hello\r\n"), "bad@example.test", "bad2@example.test")
	if items := w.rastel.quarantine("held"); len(items) != 1 || len(items[0].Recipients) != 2 {
		t.Errorf("held %v", items)
	}
}
