package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"rastel/policy"
)

// A largeCase is a case whose message is too large to be kept in a file.
type largeCase struct {
	name, why string
	make      func() string // line ends are LF and stand for CRLF
	finding   string        // one of them
	action    policy.Action
	within    time.Duration // what the examination may take
}

const caseHeader = "From: a@example.org\nTo: b@example.net\nSubject: case\nMIME-Version: 1.0\n"

// mixed is a message of parts, the last of which is the payload.
func mixed(parts func(b *strings.Builder)) string {
	var b strings.Builder
	b.WriteString(caseHeader + "Content-Type: multipart/mixed; boundary=BB\n\n")
	parts(&b)
	b.WriteString("--BB\nContent-Transfer-Encoding: base64\n\n" + base64.StdEncoding.EncodeToString([]byte(payloadText)) + "\n--BB--\n")
	return b.String()
}

func repeated(n int, format string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

func encodedLeaf(encoding, body string) string {
	return caseHeader + "Content-Type: application/octet-stream; name=x.bin\nContent-Transfer-Encoding: " + encoding + "\n\n" + body + "\n"
}

// nestedMultiparts holds the payload in n entities.
func nestedMultiparts(n int) string {
	var b strings.Builder
	b.WriteString(caseHeader)
	for i := range n {
		fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n", i, i)
	}
	return b.String() + "Content-Type: text/plain\n\n" + payloadText + "\n"
}

// megabytes is base64 of ten megabytes that end in the payload.
func megabytes() string {
	return base64.StdEncoding.EncodeToString(append(bytes.Repeat([]byte{'x'}, 10<<20), payloadText...))
}

var largeCases = []largeCase{
	{"m11-one-line", "base64 of 10 MB in one line", func() string { return encodedLeaf("base64", megabytes()) }, "clamd/malware", policy.Quarantine, 2 * time.Second},
	{"m11-padding-everywhere", "a megabyte of base64 with padding behind every byte", func() string {
		var b strings.Builder
		for _, c := range append(bytes.Repeat([]byte{'x'}, 1<<20), payloadText...) {
			b.WriteString(base64.StdEncoding.EncodeToString([]byte{c}))
		}
		return encodedLeaf("base64", b.String())
	}, "clamd/malware", policy.Quarantine, time.Second},
	{"m12-one-line", "quoted-printable of a megabyte in one line", func() string {
		return encodedLeaf("quoted-printable", strings.Repeat("=78", 1<<20)+payloadText)
	}, "clamd/malware", policy.Quarantine, time.Second},
	{"m12-soft-breaks", "a megabyte of soft line breaks", func() string {
		return encodedLeaf("quoted-printable", strings.Repeat("= \n", 1<<20)+payloadText)
	}, "clamd/malware", policy.Quarantine, time.Second},
	{"m21-5000-messages", "5,000 messages in one another", func() string {
		return caseHeader + strings.Repeat("Content-Type: message/rfc822\n\n", 5000) + "\n" + payloadText
	}, "mime/limit-depth", policy.Quarantine, time.Second},
	{"m22-4000-multiparts", "4,000 multipart entities in one another: quadratic in chained readers", func() string { return nestedMultiparts(4000) }, "mime/limit-depth", policy.Quarantine, time.Second},
	{"m22-100000-multiparts", "100,000 multipart entities in one another", func() string { return nestedMultiparts(100_000) }, "mime/limit-depth", policy.Quarantine, time.Second},
	{"m23-parts", "100,000 empty parts before the payload", func() string {
		return mixed(func(b *strings.Builder) { b.WriteString(strings.Repeat("--BB\n\n\n", 100_000)) })
	}, "mime/limit-parts", policy.Quarantine, time.Second},
	{"m23-fields", "1,100 fields, the encoding the last of them", func() string {
		return caseHeader + repeated(1100, "X-%d: x\n") + "Content-Transfer-Encoding: base64\n\n" + base64.StdEncoding.EncodeToString([]byte(payloadText)) + "\n"
	}, "mime/limit-fields", policy.Quarantine, time.Second},
	{"m23-header", "a header of 300 KB, the encoding the last field of it", func() string {
		return caseHeader + repeated(300, "X-%d: "+strings.Repeat("x", 990)+"\n") + "Content-Transfer-Encoding: base64\n\n" + base64.StdEncoding.EncodeToString([]byte(payloadText)) + "\n"
	}, "mime/limit-header", policy.Quarantine, time.Second},
	{"m23-header-of-a-part", "a part with a header of 300 KB before the payload", func() string {
		return mixed(func(b *strings.Builder) {
			b.WriteString("--BB\n" + repeated(300, "X-%d: "+strings.Repeat("x", 990)+"\n") + "\nx\n")
		})
	}, "clamd/malware", policy.Quarantine, time.Second},
	{"m23-segments", "a name in 10,000 pieces (CVE-2026-27859)", func() string {
		return caseHeader + "Content-Type: application/octet-stream\nContent-Disposition: attachment" + repeated(10_000, ";\n filename*%d=a") + ";\n filename*10000=.exe\n\nx\n"
	}, "mime/limit-parameters", policy.Quarantine, time.Second},
	{"m23-segments-of-a-boundary", "a boundary in 10,000 pieces", func() string {
		return caseHeader + "Content-Type: multipart/mixed" + repeated(10_000, "; boundary*%d=b") + "\n\n--" + strings.Repeat("b", 10_000) + "\n\n" + payloadText + "\n"
	}, "mime/limit-parameters", policy.Quarantine, time.Second},
	{"m23-recipients", "500,000 To fields (CVE-2024-23184: 18 minutes in Dovecot)", func() string {
		return strings.Repeat("To: a@example.org\n", 500_000) + caseHeader + "\n" + payloadText + "\n"
	}, "mime/limit-fields", policy.Quarantine, 2 * time.Second},
	{"m23-one-list-of-recipients", "500,000 addresses in one field", func() string {
		return "To: " + strings.Repeat("a@example.org,\n ", 500_000) + "b@example.org\n" + caseHeader + "\nx\n"
	}, "mime/limit-header", policy.Quarantine, 2 * time.Second},
	{"m32-words-in-subject", "a Subject of 15,000 encoded words (CVE-2026-42504: quadratic)", func() string {
		return "Subject:" + strings.Repeat(" =?utf-8?Q?a?=", 15_000) + "\n\nx\n"
	}, "header/long", policy.Accept, time.Second},
	{"m32-more-words-in-subject", "a Subject of 200,000 encoded words", func() string {
		return "Subject:" + strings.Repeat("\n =?utf-8?Q?a?=", 200_000) + "\n\nx\n"
	}, "mime/limit-header", policy.Quarantine, time.Second},
	{"m32-words-in-name", "a name of 200,000 encoded words", func() string {
		return caseHeader + "Content-Disposition: attachment; filename=\"" + strings.Repeat("=?utf-8?Q?a?=\n ", 200_000) + ".exe\"\n\nx\n"
	}, "mime/limit-header", policy.Quarantine, time.Second},
	{"m32-words-in-long-name", "a name of 60 KB of encoded words", func() string {
		return caseHeader + "Content-Disposition: attachment; filename=\"" + strings.Repeat("=?utf-8?Q?a?=\n ", 4000) + "=?utf-8?Q?.exe?=\"\n\nx\n"
	}, "name/executable", policy.Quarantine, time.Second},
	{"m32-word-without-end", "a word that begins 20,000 times and does not end", func() string {
		return "Subject: " + strings.Repeat("=?utf-8?Q?", 20_000) + "\n\nx\n"
	}, "header/long", policy.Accept, time.Second},
	{"m34-comments", "an address with 60,000 comments in one another (CVE-2025-61725)", func() string {
		return "From: \"a@b\"" + strings.Repeat("(", 60_000) + "c\n" + caseHeader + "\nx\n"
	}, "header/long", policy.Accept, 50 * time.Millisecond},
	{"m34-route", "an address with a route of 20,000 domains (CVE-2026-39820)", func() string {
		return "From: <" + strings.Repeat("@a,", 20_000) + ":b@example.org>\n" + caseHeader + "\nx\n"
	}, "header/long", policy.Accept, 50 * time.Millisecond},
	{"m34-route-of-a-million", "an address with a route of 1,000,000 domains", func() string {
		return "From: <" + strings.Repeat("@a,", 1_000_000) + ":b@example.org>\n" + caseHeader + "\nx\n"
	}, "mime/limit-header", policy.Quarantine, 50 * time.Millisecond},
	{"m34-domain-literal", "a domain literal of 60 KB (CVE-2026-42499)", func() string {
		return "Reply-To: a@[" + strings.Repeat("1:", 30_000) + "]\n" + caseHeader + "\nx\n"
	}, "header/long", policy.Accept, 50 * time.Millisecond},
	{"m34-phrase", "a phrase of 30,000 words before an address", func() string {
		return "Sender: " + strings.Repeat("a ", 30_000) + "<a@example.org>\n" + caseHeader + "\nx\n"
	}, "header/long", policy.Accept, 50 * time.Millisecond},
	{"m34-quoted-pairs", "a quoted string of 30,000 quoted pairs", func() string {
		return "From: \"" + strings.Repeat(`\"`, 30_000) + "\" <a@example.org>\n" + caseHeader + "\nx\n"
	}, "header/long", policy.Accept, 50 * time.Millisecond},
	{"m35-line", "a line of 10 MB before the payload", func() string {
		return mixed(func(b *strings.Builder) { b.WriteString("--BB\n\n" + strings.Repeat("x", 10<<20) + "\n") })
	}, "clamd/malware", policy.Quarantine, 2 * time.Second},
	{"name-64-kb", "a name of 64 KB, whose end decides", func() string {
		return caseHeader + "Content-Disposition: attachment; filename=\"" + strings.Repeat("a", 64<<10) + ".exe\"\n\nx\n"
	}, "name/executable", policy.Quarantine, time.Second},
	{"name-64-kb-harmless", "a name of 64 KB, longer than any file system takes", func() string {
		return caseHeader + "Content-Disposition: attachment; filename=\"" + strings.Repeat("a", 64<<10) + ".txt\"\n\nx\n"
	}, "name/long", policy.Accept, time.Second},
	{"name-64-kb-extended", "an extended name of 64 KB", func() string {
		return caseHeader + "Content-Disposition: attachment; filename*=utf-8''" + strings.Repeat("%61", 20<<10) + "%2Eexe\n\nx\n"
	}, "name/executable", policy.Quarantine, time.Second},
	{"name-many-percents", "a name of 60 KB that some clients decode once more, and once more", func() string {
		return caseHeader + "Content-Disposition: attachment; filename*=utf-8''" + strings.Repeat("%25", 20<<10) + "2Eexe\n\nx\n"
	}, "name/executable", policy.Quarantine, time.Second},
}

// TestLargeCases: what is too large is found to be so, and costs no more than other mail.
func TestLargeCases(t *testing.T) {
	e := defaultEngine(t)
	for _, c := range largeCases {
		t.Run(c.name, func(t *testing.T) {
			raw := []byte(strings.ReplaceAll(c.make(), "\n", "\r\n"))
			start := time.Now()
			x, out := deliver(t, e, raw)
			took := time.Since(start)
			found := ""
			for _, f := range x.Report.Findings {
				found += " " + f.Check
			}
			if x.Verdict.Action != c.action || !strings.Contains(found, " "+c.finding) {
				t.Fatalf("%s\ngot %s by rule %q, findings%.500s; want %s, %s", c.why, x.Verdict.Action, x.Verdict.Rule, found, c.action, c.finding)
			}
			checkLines(t, out)
			t.Logf("%d bytes in %v, should be %v", len(raw), took, c.within)
		})
	}
}

// checkLines checks that what is delivered has the lines of mail (RFC 5322 section 2.1.1).
func checkLines(t *testing.T, out []byte) {
	t.Helper()
	for line := range bytes.Lines(out) {
		if text, ok := bytes.CutSuffix(line, []byte("\r\n")); ok && bytes.ContainsAny(text, "\r\x00") {
			t.Errorf("a bare CR or NUL is delivered: %.200q", line)
		}
	}
}
