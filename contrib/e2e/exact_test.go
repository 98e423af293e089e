package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"rastel/contrib/rig"
)

// exactPolicies are several policies in one, by recipient: what is delivered unchanged, unless
// it is ambiguous; what is defanged in all that has a finding; and what is changed as much as
// can be.
const exactPolicies = `rules:
  - name: as it is
    when: '"accept@example.test" in recipients'
    then: accept
  - name: every finding
    for: part
    when: '"defang@example.test" in recipients and part.has("html/*", "name/*", "type/*", "header/*", "mime/ambiguous-type", "mime/ambiguous-boundary", "mime/ambiguous-encoding", "mime/ambiguous-content", "mime/ambiguous-header", "mime/partial", "mime/external-body", "archive/*", "hidden/*")'
    do: [defang]
  - name: every attachment
    for: part
    when: '"strip@example.test" in recipients and part.disposition == "attachment" and none(part.names, # startsWith "DEFANGED-")'
    do: [strip]
  - name: every name
    for: part
    when: '"strip@example.test" in recipients and len(part.names) > 0'
    do: [rename]
  - name: the header
    when: '"strip@example.test" in recipients'
    do: [{tag_subject: "[100%]"}, {add_header: {name: X-Exact, value: "yes"}}]
  - name: the rest
    when: size >= 0
    then: accept
`

// fixedAreas are the areas of checks of which nothing is left where every finding is defanged.
var fixedAreas = []string{"html", "name", "type", "header", "mime", "archive", "hidden"}

var exactRecipients = []string{"accept", "defang", "strip"}

// An exactMessage is a message that is sent.
type exactMessage struct {
	name string
	raw  []byte
}

// exactMessages are those of the cases, and of the corpus if it is there.
func exactMessages(t *testing.T) []exactMessage {
	t.Helper()
	files, err := filepath.Glob("../../testdata/cases/*.case")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	all := []exactMessage{{"empty", nil}}
	for _, name := range files {
		all = append(all, exactMessage{filepath.Base(name), caseMessage(t, name)})
	}
	if _, err := os.Stat(corpus); err != nil {
		t.Logf("without the third-party messages in ../shared/corpus/mime: %v", err)
		return all
	}
	for _, name := range corpusFiles(t) {
		all = append(all, exactMessage{strings.TrimPrefix(name, corpus+"/"), readMessage(t, name)})
	}
	return all
}

// caseMessage is the message in a case file: what follows the first empty line.
func caseMessage(t *testing.T, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for line, rest := "x", raw; strings.TrimRight(line, "\r\n") != ""; raw = rest {
		i := bytes.IndexByte(rest, '\n') + 1
		if i == 0 {
			t.Fatalf("%s: no message", name)
		}
		line, rest = string(rest[:i]), rest[i:]
	}
	if !bytes.Contains(raw, []byte("\r\n")) {
		raw = bytes.ReplaceAll(raw, []byte("\n"), []byte("\r\n"))
	}
	return raw
}

// A sent is a message that the MTA took, for one of the policies.
type sent struct {
	exactMessage
	sender, policy string
	x              exchange
	want           []byte // what rastel scan -out makes of what the filter saw
	res            scanResult
}

func (s *sent) String() string { return s.name + ", policy " + s.policy }

// TestDeliveredIsWhatThePatchSays sends all messages through the MTA and compares what comes
// out, byte for byte, with what rastel scan says would.
func TestDeliveredIsWhatThePatchSays(t *testing.T) {
	needServers(t)
	messages := exactMessages(t)
	settled := map[string]bool{}
	eachMTA(t, func(t *testing.T, mta string) {
		w := newExactWorld(t, mta)
		all := w.sendAll(t, messages)
		w.predict(t, all)
		w.wantDelivered(t, all)
		w.wantSettled(t, all, settled)
		w.rastel.wantTidyLog(t)
	})
}

// An exactWorld is a world that records, and beside it the MTA alone, which shows what the MTA
// does to a message that it is given.
type exactWorld struct {
	*world
	alone   *world
	rec     *recorder
	session *rig.Client
}

func newExactWorld(t *testing.T, mta string) *exactWorld {
	t.Helper()
	w := &exactWorld{
		world: newWorld(t, setup{mta: mta, policy: exactPolicies}),
		alone: newWorld(t, setup{mta: mta, noFilter: true}),
		rec:   &recorder{},
	}
	w.tap.onPacket(w.rec.note)
	return w
}

// sendAll sends each message once for each policy, all in one session as long as the MTA goes
// along.
func (w *exactWorld) sendAll(t *testing.T, messages []exactMessage) []*sent {
	t.Helper()
	var all []*sent
	refused := 0
	for i, m := range messages {
		for _, policy := range exactRecipients {
			s := &sent{exactMessage: m, policy: policy, sender: fmt.Sprintf("m%d.%s@sender.test", i, policy)}
			if !w.sendOne(t, s) {
				refused++
				continue
			}
			all = append(all, s)
		}
	}
	t.Logf("%d messages for %d policies; the MTA itself refused %d", len(messages), len(exactRecipients), refused)
	if len(all) < len(messages)*2 {
		t.Errorf("only %d were taken", len(all))
	}
	return all
}

// sendOne sends a message. It reports whether the filter was asked for a verdict.
func (w *exactWorld) sendOne(t *testing.T, s *sent) bool {
	t.Helper()
	if w.session == nil {
		w.session = w.dial()
	}
	w.rec.take()
	r, err := w.session.Message(s.sender, []string{s.policy + "@" + rig.Domain}, s.raw)
	s.x = w.rec.take()
	if err != nil || r.Code == 421 {
		w.session.Close()
		w.session = nil
	}
	switch {
	case s.x.end != 0:
		return true
	case err != nil:
		t.Errorf("%s: %v", s, err)
	case r.OK():
		t.Errorf("%s: reply %v, and the filter gave no verdict", s, r)
	}
	return false
}

// A scanResult is what a test wants to know from rastel scan -json.
type scanResult struct {
	File, Action, Rule string
	Patched            bool
	Findings           []struct{ Check, Part, Detail string }
}

// predict runs rastel scan on what the filter saw.
func (w *exactWorld) predict(t *testing.T, all []*sent) {
	t.Helper()
	seen := map[*sent][]byte{}
	for _, s := range all {
		seen[s] = s.x.seen
	}
	w.scan(t, all, seen, func(s *sent, r scanResult, out []byte) { s.res, s.want = r, out })
}

// scan runs rastel scan on bytes for each message, by its policy.
func (w *exactWorld) scan(t *testing.T, all []*sent, raw map[*sent][]byte, use func(s *sent, r scanResult, out []byte)) {
	t.Helper()
	for _, policy := range exactRecipients {
		in, out := t.TempDir(), t.TempDir()
		for i, s := range all {
			if b, ok := raw[s]; ok && s.policy == policy {
				writeFile(t, filepath.Join(in, strconv.Itoa(i)), string(b))
			}
		}
		text, status := w.rastel.run("scan", "-json", "-config", w.rastel.config, "-to", policy+"@"+rig.Domain, "-out", out, in)
		if status > 1 {
			t.Fatalf("scan: status %d", status)
		}
		for _, r := range decodeLines[scanResult](t, text) {
			i, err := strconv.Atoi(filepath.Base(r.File))
			if err != nil {
				t.Fatal(err)
			}
			b, err := os.ReadFile(filepath.Join(out, strconv.Itoa(i)))
			if err != nil && r.Action == "accept" {
				t.Fatal(err)
			}
			use(all[i], r, b)
		}
	}
}

// wantDelivered compares.
func (w *exactWorld) wantDelivered(t *testing.T, all []*sent) {
	t.Helper()
	got := map[string][]byte{}
	for _, d := range w.delivered() {
		if got[d.Sender] != nil {
			t.Errorf("%s: delivered twice", d.Sender)
		}
		got[d.Sender] = d.Raw
	}
	accepted, patched, direct := 0, 0, 0
	alone := map[*sent][]byte{}
	for _, s := range all {
		s.wantEdits(t)
		raw, ok := got[s.sender]
		if s.res.Action != "accept" {
			if ok {
				t.Errorf("%s: delivered, although the verdict is %s", s, s.res.Action)
			}
			continue
		}
		if !ok {
			t.Errorf("%s: not delivered", s)
			continue
		}
		accepted++
		if s.res.Patched {
			patched++
			s.wantWellWritten(t)
		}
		if raw = withoutReceived(raw); s.same(raw, s.want) {
			direct++
		} else {
			alone[s] = raw
		}
	}
	t.Logf("%d delivered, %d of them changed; %d exactly as predicted, %d more to be compared by way of the MTA alone", accepted, patched, direct, len(alone))
	w.wantAsAlone(t, alone)
}

// same compares what was delivered with what should be, apart from what each MTA does to any
// message: it adds the fields that are missing, and Postfix hands on a message without a body
// without the empty line.
func (s *sent) same(got, want []byte) bool {
	got, want = withoutMade(got, s.x.seen), withoutMade(want, s.x.seen)
	return bytes.Equal(got, want) || bytes.Equal(append(got, "\r\n"...), want) && (string(want) == "\r\n" || bytes.HasSuffix(want, []byte("\r\n\r\n")))
}

// wantAsAlone compares what was delivered with what the MTA alone makes of the prediction.
func (w *exactWorld) wantAsAlone(t *testing.T, delivered map[*sent][]byte) {
	t.Helper()
	for s := range delivered {
		r, err := rig.Send(w.alone.mta.SMTP(), s.sender, []string{s.policy + "@" + rig.Domain}, s.want)
		if err != nil || !r.OK() {
			t.Errorf("%s: the MTA does not take what rastel makes of it: %v, %v\ndelivered %.2000q\nwant      %.2000q", s, r, err, delivered[s], s.want)
		}
	}
	got := map[string][]byte{}
	for _, d := range w.alone.delivered() {
		got[d.Sender] = withoutReceived(d.Raw)
	}
	for s, raw := range delivered {
		if want, ok := got[s.sender]; ok && !s.same(raw, want) {
			t.Errorf("%s: delivered\n%s", s, difference(raw, want))
		}
	}
}

// withoutReceived takes off the field that the MTA put on top.
func withoutReceived(raw []byte) []byte {
	header, body := splitHeader(raw)
	f := fields(header)
	if len(f) > 0 && strings.HasPrefix(f[0], "Received: from") {
		return append([]byte(strings.Join(f[1:], "")), body...)
	}
	return raw
}

// withoutMade takes off the fields that the MTA makes where a message has none.
func withoutMade(raw, seen []byte) []byte {
	header, body := splitHeader(raw)
	seenHeader, _ := splitHeader(seen)
	var out []byte
	for _, f := range fields(header) {
		name, _, _ := strings.Cut(strings.ToLower(f), ":")
		made := name == "message-id" || name == "date" || name == "from" || strings.HasPrefix(name, "resent-")
		if made && !hasField(seenHeader, name) {
			continue
		}
		out = append(out, f...)
	}
	return append(out, body...)
}

// difference shows where two messages begin to differ.
func difference(got, want []byte) string {
	i := 0
	for i < min(len(got), len(want)) && got[i] == want[i] {
		i++
	}
	from := max(0, i-200)
	return fmt.Sprintf("byte %d: %.800q\nwant    %.800q", i, got[from:], want[from:])
}

// wantEdits checks the packets: none if nothing is to be changed.
func (s *sent) wantEdits(t *testing.T) {
	t.Helper()
	if (len(s.x.edits) > 0) != (s.res.Action == "accept" && s.res.Patched) {
		t.Errorf("%s: %s, patched %v, and %d edits were sent", s, s.res.Action, s.res.Patched, len(s.x.edits))
	}
	if s.res.Action != "accept" || s.x.count('b') > 0 {
		return
	}
	if _, before := splitHeader(s.x.seen); !bytes.HasSuffix(s.want, before) {
		t.Errorf("%s: the body is not replaced, although it is to change", s)
	}
}

// wantWellWritten checks the lines that rastel wrote: those that did not come in. What was longer
// before it was edited may be long.
func (s *sent) wantWellWritten(t *testing.T) {
	t.Helper()
	came, longest := map[string]bool{}, 998
	for line := range bytes.Lines(s.x.seen) {
		came[string(line)] = true
	}
	for line := range bytes.Lines(s.want) {
		if came[string(line)] {
			continue
		}
		text, ok := bytes.CutSuffix(line, []byte("\r\n"))
		if !ok || bytes.ContainsAny(text, "\r\x00") {
			t.Errorf("%s: rastel wrote the line %.200q", s, line)
		}
		if len(text) > longest {
			t.Errorf("%s: rastel wrote a line of %d bytes: %.100q", s, len(text), line)
		}
	}
	header, _ := splitHeader(s.want)
	for _, name := range []string{"mime-version", "content-type", "content-transfer-encoding"} {
		if n := countField(header, name); s.x.count('b') > 0 && n > 1 {
			t.Errorf("%s: %d fields %s in\n%s", s, n, name, header)
		}
	}
}

func countField(header, name string) int {
	n := 0
	for _, f := range fields(header) {
		if got, _, ok := strings.Cut(f, ":"); ok && strings.EqualFold(strings.TrimSpace(got), name) {
			n++
		}
	}
	return n
}

// wantSettled scans what was to be delivered: nothing in it is ambiguous, and it is not changed
// once more. (Not what was delivered: Sendmail itself writes multipart bodies anew, and what is
// odd in them becomes odder.)
func (w *exactWorld) wantSettled(t *testing.T, all []*sent, settled map[string]bool) {
	t.Helper()
	written := map[*sent][]byte{}
	for _, s := range all {
		key := s.policy + " " + string(s.want)
		if done := settled[key]; !done && s.res.Action == "accept" {
			settled[key] = true // both MTAs show most messages alike
			written[s] = s.want
		}
	}
	w.scan(t, all, written, func(s *sent, r scanResult, out []byte) {
		if r.Action != "accept" || !bytes.Equal(out, s.want) {
			t.Errorf("%s: a second pass gives %s by %q, findings %v\n%s", s, r.Action, r.Rule, r.Findings, difference(out, s.want))
		}
		for _, f := range r.Findings {
			area, _, _ := strings.Cut(f.Check, "/")
			switch {
			case strings.Contains(f.Part, "/"): // in text that reads like a message
			case f.Check == "mime/ambiguous-name": // each of them was judged
			case strings.HasPrefix(f.Check, "mime/limit-"): // not in the policy
			case strings.HasPrefix(f.Check, "mime/ambiguous-"), s.policy == "defang" && slices.Contains(fixedAreas, area):
				t.Errorf("%s: %s is still found in part %s: %s\n%.2000q", s, f.Check, f.Part, f.Detail, s.want)
			}
		}
	})
}

// wantTidyLog wants printable ASCII in lines that are not long, after all that senders have made up.
func (r *rastel) wantTidyLog(t *testing.T) {
	t.Helper()
	log, err := os.ReadFile(r.log)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range bytes.Lines(log) {
		n++
		line = bytes.Replace(bytes.TrimSuffix(line, []byte("\n")), []byte("µs "), nil, 1) // of the duration
		if i := bytes.IndexFunc(line, func(c rune) bool { return c < ' ' || c > '~' }); i >= 0 || len(line) > 4000 || !bytes.HasPrefix(line, []byte("time=")) {
			t.Errorf("a line of %d bytes in the log: %.300q", len(line), line)
		}
	}
	if n == 0 {
		t.Error("nothing was logged")
	}
}
