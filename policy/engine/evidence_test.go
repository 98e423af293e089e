package engine_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"rastel/policy"
	"rastel/policy/engine"
	"rastel/policy/quarantine"
	"rastel/sanitize/eml"
)

// evidenceOf is what is kept with an item.
func (w *world) evidenceOf(t *testing.T, id string) *engine.Evidence {
	t.Helper()
	data, err := w.store.Evidence(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	var e engine.Evidence
	if err := json.Unmarshal(data, &e); err != nil || len(data) > quarantine.MaxEvidence {
		t.Fatalf("%d bytes, %v", len(data), err)
	}
	return &e
}

// TestEvidenceIsKept: the record of a held message says what it is, what was found, which rule it was, and the same reference
// as the log.
func TestEvidenceIsKept(t *testing.T) {
	w := newWorld(t, quarantine.Config{}, nil)
	w.judge(t, "Subject: s\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nfine\r\n--b\r\nContent-Type: text/plain; name=\"a\x1b\xff.txt\"\r\n\r\nbad\r\n--b--\r\n")
	held := w.held(t)
	if len(held) != 1 {
		t.Fatalf("%d items", len(held))
	}
	e := w.evidenceOf(t, held[0].ID)
	v := e.Verdicts[0]
	if e.Version != engine.EvidenceVersion || e.Reference != held[0].ID || e.Policy != held[0].Policy || e.Envelope.QueueID != "Q1" || e.Envelope.Sender != "ann@example.org" ||
		!slices.Equal(e.Envelope.Recipients, []string{"bob@example.net"}) || len(e.Parts) != 3 || e.Parts[2].ID != "1.2" || len(e.Parts[2].SHA256) != 64 || e.Parts[0].SHA256 != "" ||
		len(e.Findings) == 0 || v.Action != "quarantine" || v.Rule != "bad" || !v.Held || len(v.Recipients) != 0 || len(v.Rules) != 2 || !v.Rules[0].Final || e.At.IsZero() {
		t.Errorf("got %+v", e)
	}
	if !strings.Contains(w.log.String(), "reference="+e.Reference) {
		t.Errorf("the log does not name %s:\n%s", e.Reference, &w.log)
	}
	if _, err := w.store.Evidence(t.Context(), quarantine.NewID()); err == nil {
		t.Error("there is evidence of nothing")
	}
}

// TestEvidenceIsBounded: whatever the sender writes, and however many parts there are.
func TestEvidenceIsBounded(t *testing.T) {
	w := newWorld(t, quarantine.Config{}, nil)
	var raw strings.Builder
	raw.WriteString("Content-Type: multipart/mixed; boundary=b\r\n\r\n")
	for i := range 1500 {
		fmt.Fprintf(&raw, "--b\r\nContent-Type: text/plain; name=\"%d%s\"\r\n\r\nbad\r\n", i, strings.Repeat("\x01\xfe", 400))
	}
	raw.WriteString("--b--\r\n")
	w.judge(t, raw.String())
	e := w.evidenceOf(t, w.held(t)[0].ID)
	if e.LeftOut["parts"] == 0 || len(e.Parts)+e.LeftOut["parts"] != 1501 || len(e.Parts) == 0 || e.Verdicts[0].Action != "quarantine" {
		t.Errorf("%d parts, left out %v, %+v", len(e.Parts), e.LeftOut, e.Verdicts)
	}
}

// TestEvidenceIsBoundedForRecipients: whatever addresses the sender names, of which each byte takes six in JSON, there is a
// record.
func TestEvidenceIsBoundedForRecipients(t *testing.T) {
	w := splitWorld(t, splitting, nil)
	to := []string{"plain@example.net"}
	for i := range 300 {
		for _, group := range []string{"held", "marked", "kept"} {
			to = append(to, fmt.Sprintf("%s+%d%s@example.net", group, i, strings.Repeat("&", 200)))
		}
	}
	if v := w.judgeFor(t, identified("tell", "good"), to...); v.Action != policy.Accept || len(v.Others) != 3 {
		t.Fatalf("verdict %v", v.Action)
	}
	for _, it := range w.held(t) {
		if it.Purpose == quarantine.ForNotice {
			continue
		}
		e := w.evidenceOf(t, it.ID)
		if v := e.Verdicts[1]; len(e.Verdicts) != 4 || len(v.Recipients) == 0 || len(v.Recipients)+v.More != 300 {
			t.Errorf("%d verdicts, %d and %d more recipients", len(e.Verdicts), len(v.Recipients), v.More)
		}
	}
}

// TestEvidenceNamesRecipients: of a verdict that is not for all.
func TestEvidenceNamesRecipients(t *testing.T) {
	p, err := policy.Load("test", []byte(`rules: [{name: eve, for: recipient, when: 'recipient startsWith "eve"', then: quarantine}]`), policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, quarantine.Config{}, func(opt *engine.Options) { opt.Policy = func() *policy.Policy { return p } })
	s := spool(t, "Subject: s\r\n\r\nx\r\n")
	x, err := w.Examine(t.Context(), &eml.Envelope{Client: netip.MustParseAddr("192.0.2.1"), Recipients: []string{"bob@example.net", "eve@example.net"}}, s)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Message.Close()
	e := x.Evidence()
	var got []string
	for _, v := range e.Verdicts {
		got = append(got, fmt.Sprint(v.Action, " ", v.Recipients, " ", v.Rule))
	}
	if want := []string{"accept [bob@example.net] ", "quarantine [eve@example.net] eve"}; !slices.Equal(got, want) || e.Envelope.Client != "192.0.2.1" {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestEvidenceFieldIsOurs: it is added to what is delivered if that is asked for, and forged ones go.
func TestEvidenceFieldIsOurs(t *testing.T) {
	const raw = "X-Rastel-Evidence: 01FORGED; verdict=accept\r\nSubject: %s\r\nx-rastel-evidence: again\r\n\r\nfine\r\n"
	w := newWorld(t, quarantine.Config{}, func(opt *engine.Options) { opt.EvidenceField = true })
	for _, subject := range []string{"plain", "copy"} { // one that is changed otherwise, and one that is not
		v, out := w.judge(t, fmt.Sprintf(raw, subject))
		head, _, _ := strings.Cut(out, "\r\n\r\n")
		lines := strings.Split(head, "\r\n")
		if v.Action != policy.Accept || strings.Contains(out, "FORGED") || strings.Contains(out, "again") || strings.Count(strings.ToLower(out), "x-rastel-evidence:") != 1 ||
			!strings.Contains(head, "X-Rastel-Evidence: 01") || !strings.Contains(head, "verdict=accept") || !strings.Contains(head, "Subject: "+subject) || !strings.HasSuffix(out, "\r\n\r\nfine\r\n") {
			t.Errorf("%s: %v\n%s", subject, v.Action, out)
		}
		for _, l := range lines {
			if len(l) > 120 {
				t.Errorf("a line of %d bytes: %q", len(l), l)
			}
		}
	}
	plain := newWorld(t, quarantine.Config{}, nil)
	if _, out := plain.judge(t, "Subject: plain\r\n\r\nfine\r\n"); out != "Subject: plain\r\n\r\nfine\r\n" {
		t.Errorf("nobody asked for it: %q", out)
	}
	watching, err := policy.Load("test", []byte("mode: watch\n"+rules), policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	watch := newWorld(t, quarantine.Config{}, func(opt *engine.Options) {
		opt.EvidenceField, opt.Policy = true, func() *policy.Policy { return watching }
	})
	if _, out := watch.judge(t, "Subject: plain\r\n\r\nbad\r\n"); out != "Subject: plain\r\n\r\nbad\r\n" {
		t.Errorf("a policy that watches changes the message: %q", out)
	}
}

// TestRefusalsHaveAReference: the same as the log.
func TestRefusalsHaveAReference(t *testing.T) {
	p, err := policy.Load("test", []byte(`rules:
- {name: one, when: 'subject == "one"', then: reject}
- {name: two, when: 'subject == "two"', then: reject, reply: {code: 554, text: No}}
- {name: three, when: 'subject == "three"', then: tempfail, reply: {text: "Ask for {reference}, later"}}
`), policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, quarantine.Config{}, func(opt *engine.Options) { opt.Policy = func() *policy.Policy { return p } })
	for subject, want := range map[string]string{
		"one": "The message was refused because of its content (reference REF)", "two": "No (reference REF)", "three": "Ask for REF, later",
	} {
		w.log.Reset()
		v, _ := w.judge(t, "Subject: "+subject+"\r\n\r\nx")
		_, rest, _ := strings.Cut(w.log.String(), "reference=")
		ref, _, _ := strings.Cut(rest, " ")
		if len(ref) != 26 || v.Reply.Text != strings.ReplaceAll(want, "REF", ref) {
			t.Errorf("%s: %q with reference %q, want %q", subject, v.Reply.Text, ref, want)
		}
	}
	if v, _ := w.judge(t, "Subject: four\r\n\r\nlater"); v.Action != policy.TempFail || !strings.Contains(v.Reply.Text, "try again later (reference ") {
		t.Errorf("got %v %q", v.Action, v.Reply.Text)
	}
}

// TestRetriesHaveTheReferenceOfTheItem: of a message that is refused, and of which a copy is held, each try has the
// same reference, because there is one item.
func TestRetriesHaveTheReferenceOfTheItem(t *testing.T) {
	p, err := policy.Load("test", []byte(`rules: [{name: one, when: true, do: [hold], then: reject, reply: {text: "Ask for {reference}"}}]`), policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, quarantine.Config{}, func(opt *engine.Options) { opt.Policy = func() *policy.Policy { return p } })
	for range 2 {
		v, _ := w.judge(t, "Subject: s\r\nMessage-ID: <1@example.org>\r\n\r\nx")
		held := w.held(t)
		if len(held) != 1 || v.Action != policy.Reject || v.Reply.Text != "Ask for "+held[0].ID {
			t.Errorf("%d items, %v %q", len(held), v.Action, v.Reply.Text)
		}
	}
	if id := w.held(t)[0].ID; strings.Count(w.log.String(), "reference="+id) != 2 {
		t.Errorf("the log names others than %s:\n%s", id, &w.log)
	}
}
