package main

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rastel/policy"
	"rastel/policy/engine"
	"rastel/sanitize/eml"
	"rastel/scanners"
)

// rewritingEngine has a policy that delivers whatever it can: programs and payloads are stripped,
// pages defanged, odd names changed in the given way, and the header is edited besides.
func rewritingEngine(t *testing.T, names string) *engine.Engine {
	t.Helper()
	file := filepath.Join(t.TempDir(), "policy.yaml")
	rules := "rules:\n" +
		"  - {name: payload, for: part, when: 'part.has(\"clamd/malware\", \"name/executable\", \"type/executable\")', do: [strip]}\n" +
		"  - {name: page, for: part, when: 'part.has(\"html/*\")', do: [defang]}\n" +
		"  - {name: name, for: part, when: 'not part.member and part.has(\"name/*\")', do: [" + names + "]}\n" +
		"  - {name: header, when: 'has(\"header/*\")', do: [defang]}\n"
	if err := os.WriteFile(file, []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := loadConfig("")
	if err != nil {
		t.Fatal(err)
	}
	b := &built{cfg: cfg, log: slog.New(slog.DiscardHandler)}
	list := append(builtin(cfg), scanners.Named{Name: "payload", Scanner: payload{}})
	b.set = scanners.NewSet(scanners.Options{Budget: b.cfg.budget(), Spool: b.cfg.spool()}, list...)
	if b.policy, err = policy.NewLive(file, policyOptions(cfg), b.log); err != nil {
		t.Fatal(err)
	}
	return b.engine(nil)
}

// TestWhateverIsDeliveredIsSafe mutates messages at random and holds what a policy that delivers all
// makes of them to what every rewritten message must be.
func TestWhateverIsDeliveredIsSafe(t *testing.T) {
	files, err := filepath.Glob("../../testdata/cases/*.case")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	e, telling := rewritingEngine(t, "rename"), rewritingEngine(t, "mangle, {banner: external}")
	rnd := rand.New(rand.NewPCG(seedOf(t), 1))
	var seeds [][]byte
	for _, name := range files {
		c, err := readCase(name)
		if err != nil {
			t.Fatal(err)
		}
		// What is changed in a damaged container may well mend it, so there are none of those that
		// are found at any place.
		if len(c.Raw) < 20<<10 && !bytes.Contains(c.Raw, []byte("pkcs7")) && !bytes.Contains(c.Raw, []byte("gpg")) {
			seeds = append(seeds, c.Raw)
		}
	}
	for i, raw := range seeds {
		checkRewritten(t, e, fmt.Sprintf("seed %d", i), raw)
		checkRewritten(t, telling, fmt.Sprintf("seed %d, told", i), raw)
	}
	for i := range roundsOf(t) {
		raw := mutate(rnd, seeds)
		checkRewritten(t, e, fmt.Sprintf("round %d", i), raw)
		checkRewritten(t, telling, fmt.Sprintf("round %d, told", i), raw)
		if t.Failed() {
			return
		}
	}
}

func seedOf(t *testing.T) uint64 {
	t.Helper()
	var n uint64
	fmt.Sscan(os.Getenv("RASTEL_TEST_SEED"), &n)
	return n
}

func roundsOf(t *testing.T) int {
	t.Helper()
	n := 500
	fmt.Sscan(os.Getenv("RASTEL_TEST_ROUNDS"), &n)
	return n
}

// pieces are lines that make mail ambiguous.
var pieces = []string{
	"--bb\r\n", "--bb--\r\n", "--bb x\r\n", "--bbx\r\n", " --bb\r\n", "x --bb\r\n", "\r\n", "\n", "\r", "\x00", " \r\n", "junk\r\n", ".\r\n", "\r\n.\r\n",
	"Content-Type: multipart/mixed; boundary=bb\r\n", "Content-Type: multipart/mixed; boundary=\"cc\"; boundary=bb\r\n",
	"Content-Type: text/html\r\n", "Content-Type: message/rfc822\r\n", "Content-Type: multipart/digest; boundary=dd\r\n", "--dd\r\n",
	"Content-Transfer-Encoding: base64\r\n", "Content-Transfer-Encoding: quoted-printable\r\n", "Content-Transfer-Encoding: x\r\n",
	"Content-Disposition: attachment; filename=a.exe\r\n", "Content-Disposition: attachment; filename=\"../a.txt\"\r\n",
	"<script>bad()</script>\r\n", "<p onclick=bad()>\r\n", "PHNjcmlwdD5iYWQoKTwvc2NyaXB0Pg==\r\n", "=3Cscript>bad()</script>=\r\n", payloadText + "\r\n",
	"UkFTVEVMIEhBUk1MRVNTIFRFU1QgUEFZTE9BRCA1ZDFmOGM3Mg==\r\n", "Subject: x\x07y\r\n", "MIME-Version: 1.0\r\n",
}

// mutate makes a message of another.
func mutate(rnd *rand.Rand, seeds [][]byte) []byte {
	raw := slices.Clone(seeds[rnd.IntN(len(seeds))])
	for range 1 + rnd.IntN(4) {
		lines := bytes.SplitAfter(raw, []byte("\n"))
		i, k := rnd.IntN(len(lines)), rnd.IntN(len(lines))
		switch rnd.IntN(8) {
		case 0:
			lines = slices.Delete(lines, i, i+1)
		case 1:
			lines[i], lines[k] = lines[k], lines[i]
		case 2:
			lines = slices.Insert(lines, i, lines[k])
		case 3:
			lines = lines[:i+1]
		case 4:
			if n := len(lines[i]); n > 0 {
				at := rnd.IntN(n)
				lines[i] = append(slices.Clone(lines[i][:at]), lines[i][min(n, at+1+rnd.IntN(3)):]...)
			}
		case 5:
			if n := len(lines[i]); n > 0 {
				lines[i] = slices.Clone(lines[i])
				lines[i][rnd.IntN(n)] = "\x00\r\n=\";:-( \t\\'*\xa0\x0b"[rnd.IntN(16)]
			}
		default:
			lines = slices.Insert(lines, i, []byte(pieces[rnd.IntN(len(pieces))]))
		}
		raw = bytes.Join(lines, nil)
	}
	return raw
}

// checkRewritten holds the message that is made of raw to all promises.
func checkRewritten(t *testing.T, e *engine.Engine, name string, raw []byte) {
	t.Helper()
	x, out := deliver(t, e, raw)
	if x.Verdict.Action != policy.Accept {
		return
	}
	fail := func(format string, args ...any) {
		t.Helper()
		t.Errorf("%s: %s\nof %q\nmade %q", name, fmt.Sprintf(format, args...), raw, out)
	}
	if x.Verdict.Patch.Empty() || namesPayload(x.Message) {
		return
	}
	if bytes.HasPrefix(raw, []byte(fieldsOf(x.Message)+"\r\n")) {
		if applied := applyFields(t, x); !bytes.EqualFold(applied, out) { // a field that is changed keeps its spelling
			fail("the MTA makes %q of it", applied)
		}
	}
	again, twice := deliver(t, e, out)
	if again.Verdict.Action != policy.Accept || !bytes.Equal(out, twice) {
		fail("a second pass gives %s and %q", again.Verdict.Action, twice)
	}
	for _, f := range again.Report.Findings {
		switch {
		case f.Check == "clamd/malware", f.Check == "name/executable", strings.HasPrefix(f.Check, "html/"),
			strings.HasPrefix(f.Check, "mime/ambiguous-") && f.Check != "mime/ambiguous-name" && !f.Part.Member():
			fail("still there: %s of %s: %s", f.Check, f.Part.ID, f.Detail)
		}
	}
	if clean(raw) && !clean(out) {
		fail("it has lines that no message may have")
	}
}

// namesPayload reports whether the payload is in a name: then it is in the notice that tells the name.
func namesPayload(m *eml.Message) bool {
	return !m.Root.Walk(func(p *eml.Part) bool {
		return !slices.ContainsFunc(p.Names, func(s string) bool { return strings.Contains(s, payloadText) })
	})
}

// clean reports whether all lines end in CRLF and are not too long, and nothing else is in them that
// SMTP does not carry (RFC 5321 section 4.5.3.1.6).
func clean(raw []byte) bool {
	for line := range bytes.Lines(raw) {
		text, ok := bytes.CutSuffix(line, []byte("\r\n"))
		if !ok && text[len(text)-1] == '\n' || len(text) > 998 || bytes.ContainsAny(text, "\r\x00") {
			return false
		}
	}
	return true
}

// fieldsOf is all that the MTA knows of the header of a message.
func fieldsOf(m *eml.Message) string {
	var b strings.Builder
	for _, f := range m.Root.Header.Fields {
		b.Write(m.Root.Header.Raw(f))
	}
	return b.String()
}

// applyFields carries out a patch as the MTA does that is told of it in the terms of a milter.
func applyFields(t *testing.T, x *engine.Examination) []byte {
	t.Helper()
	m, h := x.Message, &x.Message.Root.Header
	var fields []string
	for _, f := range h.Fields {
		fields = append(fields, string(h.Raw(f)))
	}
	nth := func(name string, n int) int {
		for i, f := range fields {
			if k, _, _ := strings.Cut(f, ":"); strings.EqualFold(strings.TrimRight(k, " \t"), name) {
				if n--; n == 0 {
					return i
				}
			}
		}
		t.Fatalf("no field %s to change", name)
		return 0
	}
	for _, f := range x.Verdict.Patch.Fields() {
		text := f.Name + ":" + f.Value + "\r\n"
		switch f.Op {
		case eml.ChangeField:
			fields[nth(f.Name, f.Index)] = text
		case eml.DeleteField:
			i := nth(f.Name, f.Index)
			fields = slices.Delete(fields, i, i+1)
		case eml.InsertField:
			fields = slices.Insert(fields, f.Index, text)
		case eml.AppendField:
			fields = append(fields, text)
		}
	}
	var out bytes.Buffer
	out.WriteString(strings.Join(fields, ""))
	all, _ := io.ReadAll(m.Root.Raw())
	body, _ := io.ReadAll(m.Root.RawBody())
	out.Write(all[len(h.Bytes()) : len(all)-len(body)])
	if b := x.Verdict.Patch.Body(); b != nil {
		body = nil
		if _, err := b.WriteTo(&out); err != nil {
			t.Fatal(err)
		}
	}
	out.Write(body)
	return out.Bytes()
}
