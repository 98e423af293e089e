package main

import (
	"bytes"
	"encoding/base64"
	"io"
	"log/slog"
	"regexp"
	"strings"
	"testing"

	"rastel/policy"
	"rastel/sanitize/eml"
)

// changingRules change whatever they can: each puts text of its own beside that of the sender.
const changingRules = lenientRules + `
  - {name: name, for: part, when: 'part.has("name/*")', do: [rename]}
  - {name: header, when: 'has("header/*")', do: [defang]}
  - {name: tag, when: 'true', do: [{tag_subject: "[tag]"}]}
`

// injected is a field, or a body, that the sender could only have made of a decoded line break.
var injected = regexp.MustCompile(`(?im)^[ \t]*(bcc|x-evil)[ \t]*:|^injected`)

// TestDecodedLineBreaksStayWhereTheyAre: encoded words, percent encoding and quoted pairs may hold line breaks,
// and fields behind them. Nothing decoded gets into what is delivered, or begins a line of the log.
func TestDecodedLineBreaksStayWhereTheyAre(t *testing.T) {
	evil := "a\r\nBcc: x@example.org\nX-Evil: 1\rX-Evil: 2\r\n\r\ninjected\x00\r\n.\r\n"
	q := "=?utf-8?Q?a=0D=0ABcc:_x@example.org=0AX-Evil:_1=0D=0A=0D=0Ainjected?="
	b := "=?utf-8?B?" + base64.StdEncoding.EncodeToString([]byte(evil)) + "?="
	percent := "utf-8''a%0D%0ABcc:%20x%0AX-Evil:%201%0D%0A%0D%0Ainjected"
	for _, raw := range []string{
		"Subject: " + q + "\n\nx\n",
		"Subject: " + b + " " + q + "\n\nx\n",
		"Subject: =?utf-7?Q?a+AA0ACg-Bcc:_x?=\n\nx\n",
		"Subject: =?utf-16?B?AA0ACgBCAGMAYwA6AHg=?=\n\nx\n",
		"Subject: " + strings.Repeat(q+" ", 20) + "\n\nx\n",
		"From: " + q + " <a@example.org>\nSubject: " + strings.Repeat(" ", 300) + b + "\n\nx\n",
		"Message-ID: <" + q + ">\nSubject: x\n\nx\n",
		"Subject: x\nContent-Type: x/y\nContent-Disposition: attachment; filename=\"" + q + ".txt\"\n\nx\n",
		"Subject: x\nContent-Type: x/y\nContent-Disposition: attachment; filename=\"" + q + ".exe\"\n\nx\n",
		"Subject: x\nContent-Type: x/y; name=\"" + b + ".exe\"\n\nx\n",
		"Subject: x\nContent-Type: x/y; name*=" + percent + ".txt\n\nx\n",
		"Subject: x\nContent-Type: x/y; name*0*=" + percent + "; name*1=.exe\n\nx\n",
		"Subject: x\nContent-Type: text/html; name*=" + percent + "\n\n<script>x</script>\n",
		"Subject: x\nContent-Type: multipart/mixed; boundary=a; boundary=\"" + q + "\"\n\n--a\nContent-Type: x/y; name=\"" + b + "\"\n\nx\n--a--\n",
		"Subject: x\nContent-Type: multipart/mixed; boundary=a; boundary*=" + percent + "\n\n--a\nContent-Description: " + q + "\nContent-ID: " + b + "\n\nx\n--a--\n",
		"Subject: x\nContent-Type: text/plain; charset=\"" + q + "\"\nContent-Type: text/plain; charset*=" + percent + "\n\nx\n",
	} {
		var log bytes.Buffer
		e := engineWith(t, changingRules, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
		sent := []byte(strings.ReplaceAll(raw, "\n", "\r\n"))
		x, out := deliver(t, e, sent)
		if x.Verdict.Action != policy.Accept || !bytes.Contains(out, []byte("[tag]")) {
			t.Fatalf("%q is not delivered, but %s: %s", raw, x.Verdict.Action, out)
		}
		s := eml.NewSpool(eml.SpoolOptions{})
		if _, err := io.Copy(s, bytes.NewReader(sent)); err != nil {
			t.Fatal(err)
		}
		s.CloseWrite(nil)
		if _, err := e.Judge(t.Context(), &eml.Envelope{QueueID: "q"}, s); err != nil {
			t.Fatal(err)
		}
		s.Close()
		if injected.Match(out) {
			t.Errorf("%q\nis delivered as\n%q", raw, out)
		}
		for _, f := range x.Verdict.Patch.Fields() {
			if v := strings.ReplaceAll(strings.ReplaceAll(f.Value, "\r\n ", ""), "\r\n\t", ""); strings.ContainsAny(v+f.Name, "\r\n\x00") {
				t.Errorf("%q\nchanges %q to %q", raw, f.Name, f.Value)
			}
		}
		if lines := strings.Count(log.String(), "\n"); lines != 1 || injected.Match(log.Bytes()) || strings.Contains(log.String(), "\r") {
			t.Errorf("%q\nis logged as %q, want one line", raw, log.String())
		}
		checkLines(t, out)
	}
}

// TestANewNameWinsOverMendingItsField: a field may be replaced once only, and a second pass has nothing
// left to do.
func TestANewNameWinsOverMendingItsField(t *testing.T) {
	e := engineWith(t, "  - {name: all, when: 'has(\"*\")', do: [defang]}\n  - {name: the rest, when: 'true', then: accept}\n", slog.New(slog.DiscardHandler))
	for _, field := range []string{"attachment; filename=\"`id`.exe\"", "attachment (another); filename (one) = \"a.exe\"", "attachment; filename*=utf-8''a%0D%0A.exe"} {
		_, out := deliver(t, e, []byte("Content-Type: application/octet-stream\r\nContent-Disposition: "+field+"\r\n\r\nx\r\n"))
		x, again := deliver(t, e, out)
		if !bytes.Contains(out, []byte(`.DEFANGED-exe"`)) || len(x.Report.Findings) > 0 || !bytes.Equal(again, out) {
			t.Errorf("%s became\n%s, in which is found %v", field, out, x.Report.Findings)
		}
	}
}
