package icap

import (
	"context"
	"strings"
	"testing"
	"time"

	"rastel/scanners/scannertest"
)

// sent is longer than the preview that the fake asks for.
const sent = "content that is sent"

const tagged = "ICAP/1.0 200 OK\r\nISTag: \"one\"\r\n"

var replies = []struct{ name, reply, want string }{
	{"204", clean204, "clean"},
	{"204 without quotes", "ICAP/1.0 204 Unmodified\r\nISTag: one\r\n\r\n", "clean"},
	{"204 without reason", "ICAP/1.0 204\r\nISTag: \"one\"\r\n\r\n", "clean"},
	{"204 that says it has no body", "ICAP/1.0 204 No\r\nISTag: \"one\"\r\nEncapsulated: null-body=0\r\n\r\n", "clean"},
	{"the content", back("200 OK", sent), "clean"},
	{"the content in pieces", tagged + "Encapsulated: res-body=0\r\n\r\n7\r\ncontent\r\n000d; x=y\r\n that is sent\r\n0\r\n\r\n", "clean"},

	{"nothing", "", "temporary"},
	{"an empty line", "\r\n", "temporary"},
	{"a part of a status line", "ICAP/1.0 20", "temporary"},
	{"a status line", "ICAP/1.0 204 Unmodified\r\n", "temporary"},
	{"a cut header", "ICAP/1.0 204 Unmodified\r\nISTag: \"one\"\r\n", "temporary"},
	{"a cut line", "ICAP/1.0 204 Unmodified\r\nISTag: \"one\"", "temporary"},
	{"204 of HTTP", "HTTP/1.1 204 No Content\r\nISTag: \"one\"\r\n\r\n", "temporary"},
	{"204 of no version", "ICAP 204 No\r\nISTag: \"one\"\r\n\r\n", "temporary"},
	{"204 of version 2", "ICAP/2.0 204 No\r\nISTag: \"one\"\r\n\r\n", "temporary"},
	{"2040", "ICAP/1.0 2040 No\r\nISTag: \"one\"\r\n\r\n", "temporary"},
	{"20", "ICAP/1.0 20 No\r\nISTag: \"one\"\r\n\r\n", "temporary"},
	{"+04", "ICAP/1.0 +04 No\r\nISTag: \"one\"\r\n\r\n", "temporary"},
	{"two blanks", "ICAP/1.0  204 No\r\nISTag: \"one\"\r\n\r\n", "temporary"},
	{"an empty line before", "\r\n" + clean204, "temporary"},
	{"garbage", "\x00\x01\x02 garbage\r\n\r\n", "temporary"},
	{"no field", "ICAP/1.0 204 Unmodified\r\nISTag \"one\"\r\n\r\n", "temporary"},
	{"clamd", "stream: OK\x00", "temporary"},
	{"no ISTag", "ICAP/1.0 204 Unmodified\r\n\r\n", "temporary"},
	{"an empty ISTag", "ICAP/1.0 204 Unmodified\r\nISTag: \"\"\r\n\r\n", "temporary"},
	{"a long ISTag", "ICAP/1.0 204 Unmodified\r\nISTag: \"" + strings.Repeat("x", maxTag+1) + "\"\r\n\r\n", "temporary"},
	{"two ISTags", "ICAP/1.0 204 Unmodified\r\nISTag: \"one\"\r\nISTag: \"two\"\r\n\r\n", "temporary"},
	{"204 twice", clean204 + clean204, "temporary"},
	{"204 and garbage", clean204 + "x", "temporary"},
	{"204 and a finding", clean204 + "ICAP/1.0 200 OK\r\nX-Virus-ID: x\r\n\r\n", "temporary"},
	{"204 with a body", "ICAP/1.0 204 No\r\nISTag: \"one\"\r\nEncapsulated: res-body=0\r\n\r\n", "temporary"},
	{"100 twice", "ICAP/1.0 100 Continue\r\n\r\n" + clean204, "temporary"},
	{"200 alone", tagged + "\r\n", "temporary"},
	{"200 without content", tagged + "Encapsulated: null-body=0\r\n\r\n", "temporary"},
	{"200 with another kind of body", tagged + "Encapsulated: opt-body=0\r\n\r\n0\r\n\r\n", "temporary"},
	{"200 with a request", tagged + "Encapsulated: req-hdr=0, req-body=10\r\n\r\n", "temporary"},
	{"200 with its body missing", tagged + "Encapsulated: res-body=0\r\n\r\n", "temporary"},
	{"Encapsulated twice", strings.Replace(back("200 OK", sent), "\r\nEncap", "\r\nEncapsulated: null-body=0\r\nEncap", 1), "temporary"},
	{"Encapsulated of three", tagged + "Encapsulated: req-hdr=0, res-hdr=1, res-body=2\r\n\r\n", "temporary"},
	{"Encapsulated empty", tagged + "Encapsulated:\r\n\r\n", "temporary"},
	{"Encapsulated negative", tagged + "Encapsulated: res-hdr=0, res-body=-1\r\n\r\n", "temporary"},
	{"Encapsulated not from 0", tagged + "Encapsulated: res-body=1\r\n\r\n", "temporary"},
	{"Encapsulated backwards", tagged + "Encapsulated: res-hdr=10, res-body=0\r\n\r\n", "temporary"},
	{"Encapsulated huge", tagged + "Encapsulated: res-hdr=0, res-body=99999999999999999999\r\n\r\n", "temporary"},
	{"Encapsulated large", tagged + "Encapsulated: res-hdr=0, res-body=1000000\r\n\r\n" + strings.Repeat("x", 1000000), "temporary"},
	{"a header of HTTP that is cut", tagged + "Encapsulated: res-hdr=0, res-body=90\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "temporary"},
	{"a header of HTTP that is shorter", strings.Replace(back("200 OK", sent), "res-body=38", "res-body=41", 1), "temporary"},
	{"a header of HTTP that is longer", strings.Replace(back("200 OK", sent), "res-body=38", "res-body=19", 1), "temporary"},
	{"a header of something else", strings.Replace(back("200 OK", sent), "HTTP/1.1", "JTTP/1.1", 1), "temporary"},
	{"content in no chunks", tagged + "Encapsulated: res-body=0\r\n\r\n" + sent, "temporary"},
	{"a chunk that is cut", tagged + "Encapsulated: res-body=0\r\n\r\n14\r\ncontent that", "temporary"},
	{"a chunk that is longer than it says", tagged + "Encapsulated: res-body=0\r\n\r\n7\r\n" + sent + "\r\n0\r\n\r\n", "temporary"},
	{"no last chunk", tagged + "Encapsulated: res-body=0\r\n\r\n14\r\n" + sent + "\r\n", "temporary"},
	{"no end of the last chunk", tagged + "Encapsulated: res-body=0\r\n\r\n14\r\n" + sent + "\r\n0\r\n", "temporary"},
	{"a chunk of no number", tagged + "Encapsulated: res-body=0\r\n\r\nxyz\r\n" + sent + "\r\n0\r\n\r\n", "temporary"},
	{"a chunk of a negative number", tagged + "Encapsulated: res-body=0\r\n\r\n-14\r\n" + sent + "\r\n0\r\n\r\n", "temporary"},
	{"a chunk of an empty number", tagged + "Encapsulated: res-body=0\r\n\r\n;x\r\n" + sent + "\r\n0\r\n\r\n", "temporary"},
	{"a chunk of 0x14", tagged + "Encapsulated: res-body=0\r\n\r\n0x14\r\n" + sent + "\r\n0\r\n\r\n", "temporary"},
	{"a chunk of a huge number", tagged + "Encapsulated: res-body=0\r\n\r\nffffffffffffffff\r\n" + sent, "temporary"},
	{"a chunk with a long line", tagged + "Encapsulated: res-body=0\r\n\r\n14;" + strings.Repeat("x", maxChunkLine) + "\r\n" + sent + "\r\n0\r\n\r\n", "temporary"},
	{"chunks with LF", tagged + "Encapsulated: res-body=0\r\n\r\n14\n" + sent + "\n0\n\n", "temporary"},
	{"a field behind the content", tagged + "Encapsulated: res-body=0\r\n\r\n14\r\n" + sent + "\r\n0\r\nX-Virus-ID: Eicar\r\n\r\n", "temporary"},
	{"an endless trailer", tagged + "Encapsulated: res-body=0\r\n\r\n14\r\n" + sent + "\r\n0\r\n" + strings.Repeat("X: y\r\n", 1<<16), "temporary"},
	{"the content and more", back("200 OK", sent) + "x", "temporary"},
	{"many fields", "ICAP/1.0 204 No\r\nISTag: \"one\"\r\n" + strings.Repeat("X: y\r\n", maxFields) + "\r\n", "temporary"},
	{"endless fields", "ICAP/1.0 204 No\r\nISTag: \"one\"\r\n" + strings.Repeat("X: y\r\n", 1<<18), "temporary"},
	{"a huge field", "ICAP/1.0 204 No\r\nISTag: \"one\"\r\nX: " + strings.Repeat("y", 1<<20) + "\r\n\r\n", "temporary"},
	{"a huge status line", "ICAP/1.0 204 " + strings.Repeat("y", 1<<20), "temporary"},
	{"206", "ICAP/1.0 206 Partial\r\nISTag: \"one\"\r\n\r\n", "temporary"},
	{"400", "ICAP/1.0 400 Bad request\r\nConnection: close\r\n\r\n", "temporary"},
	{"404", "ICAP/1.0 404 Service not found\r\nISTag: \"one\"\r\n\r\n", "temporary"},
	{"500", "ICAP/1.0 500 Server error\r\nISTag: \"one\"\r\n\r\n", "temporary"},
	{"503", "ICAP/1.0 503 Overloaded\r\nISTag: \"one\"\r\n\r\n", "temporary"},

	{"an infection", tagged + "X-Infection-Found: Type=0; Resolution=2; Threat=Eicar;\r\nEncapsulated: res-hdr=0, res-body=10\r\n\r\n", malware},
	{"an infection of no type", tagged + "X-Infection-Found: Eicar\r\n\r\n", malware},
	{"an infection and 204", "ICAP/1.0 204 No\r\nX-Infection-Found: Type=0; Resolution=0; Threat=Eicar;\r\n\r\n", malware},
	{"an infection and the content", strings.Replace(back("200 OK", sent), "\r\nEncap", "\r\nX-Virus-ID: Eicar\r\nEncap", 1), malware},
	{"an infection and 403", "ICAP/1.0 403 Forbidden\r\nX-Virus-ID: Eicar\r\n\r\n", malware},
	{"an infection said twice", tagged + "X-Infection-Found: Type=0; Resolution=2; Threat=Eicar;\r\nX-Violations-Found: 1\r\n\t-\r\n\tEicar\r\n\t0\r\n\t0\r\n\r\n", malware},
	{"two infections", tagged + "X-Virus-ID: A\r\nX-Virus-ID: B\r\n\r\n", "2 findings"},
	{"violations", tagged + "X-Violations-Found: 2\r\n\ta\r\n\tA\r\n\t1\r\n\t0\r\n\tb\r\n\tB\r\n\t1\r\n\t0\r\n\r\n", malware},
	{"violations that cannot be read", tagged + "X-Violations-Found: yes\r\n\r\n", malware},
	{"no violations", "ICAP/1.0 204 No\r\nISTag: \"one\"\r\nX-Violations-Found: 0\r\nX-Virus-ID:\r\nX-Blocked: false\r\n\r\n", "clean"},
	{"against a policy", tagged + "X-Infection-Found: Type=1; Resolution=2; Threat=secret;\r\n\r\n", blocked},
	{"a container", tagged + "X-Infection-Found: Type=2; Resolution=2; Threat=encrypted;\r\n\r\n", blocked},
	{"blocked", tagged + "X-Blocked: 1\r\nX-Block-Reason: because\r\n\r\n", blocked},
	{"a reason", tagged + "X-Block-Reason: because\r\n\r\n", blocked},
	{"a page instead", back("403 Forbidden", "<html>no"), blocked},
	{"a page instead that says OK", back("200 OK", "<html>no"), blocked},
	{"a page instead without end", strings.TrimSuffix(back("403 Forbidden", "<html>no"), "0\r\n\r\n"), blocked},
	{"less of the content", back("200 OK", sent[:10]), blocked},
	{"more than the content", back("200 OK", sent+"x"), blocked},
	{"nothing of the content", tagged + "Encapsulated: res-body=0\r\n\r\n0\r\n\r\n", blocked},
	{"no content", tagged + "Encapsulated: res-hdr=0, null-body=19\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", blocked},
}

func TestTakesOnlyAClearReplyForAVerdict(t *testing.T) {
	if !strings.Contains(back("200 OK", ""), "res-body=38") {
		t.Fatalf("the table counts on another length: %q", back("200 OK", ""))
	}
	for _, tt := range replies {
		// With a preview, without, and where the preview is all of it.
		for _, options := range []string{able, strings.Replace(able, "Preview: 8\r\n", "", 1), strings.Replace(able, "Preview: 8", "Preview: 4096", 1)} {
			f := serve(t, options, answering(tt.reply))
			findings, err := newScanner(t, Config{URL: f.url}).Scan(t.Context(), file(t, sent))
			if got := scannertest.Outcome(findings, err); got != tt.want {
				t.Errorf("%s: reply %.200q to a request after %q: got %s (%v, %.200v), want %s", tt.name, tt.reply, options, got, findings, err, tt.want)
			}
		}
	}
}

// What comes instead of 100 Continue, while the service has only seen the preview.
func TestTakesOnlyAClearReplyToAPreview(t *testing.T) {
	for _, tt := range append(replies[6:len(replies):len(replies)], []struct{ name, reply, want string }{
		{"100 and more", "ICAP/1.0 100 Continue\r\n\r\n" + clean204, "temporary"},
		{"100 that is cut", "ICAP/1.0 100 Continue\r\n", "temporary"},
		{"100 and no more", "ICAP/1.0 100 Continue\r\n\r\n", "temporary"},
		{"the preview", back("200 OK", sent[:8]), blocked},
	}...) {
		if tt.name == "100 twice" || tt.name == "no violations" {
			continue // are something else here
		}
		f := serve(t, able, func(c *call) bool {
			c.reply(tt.reply)
			return false
		})
		findings, err := newScanner(t, Config{URL: f.url}).Scan(t.Context(), file(t, sent))
		if got := scannertest.Outcome(findings, err); got != tt.want {
			t.Errorf("%s: reply %.200q: got %s (%v, %.200v), want %s", tt.name, tt.reply, got, findings, err, tt.want)
		}
	}
}

func TestTakesNo204ThatItDidNotAllow(t *testing.T) {
	options := strings.NewReplacer("Allow: 204\r\n", "", "Preview: 8\r\n", "").Replace(able)
	var allowed bool
	f := serve(t, options, func(c *call) bool {
		allowed = c.header.Get("Allow") != ""
		return answering(clean204)(c)
	})
	findings, err := newScanner(t, Config{URL: f.url}).Scan(t.Context(), file(t, sent))
	if got := scannertest.Outcome(findings, err); got != "temporary" || allowed {
		t.Errorf("got %s (%v), allowed %v, want temporary, not allowed", got, err, allowed)
	}
}

// To OPTIONS too only a clear reply is one; and a service without RESPMOD can do nothing here.
func TestTakesOnlyAClearReplyToOptions(t *testing.T) {
	for name, reply := range map[string]string{
		"nothing":              "",
		"garbage":              "garbage\r\n\r\n",
		"204":                  clean204,
		"404":                  "ICAP/1.0 404 Service not found\r\n\r\n",
		"no ISTag":             strings.Replace(able, "ISTag: \"one\"\r\n", "", 1),
		"no RESPMOD":           strings.Replace(able, "RESPMOD", "REQMOD", 1),
		"no methods":           strings.Replace(able, "Methods: RESPMOD\r\n", "", 1),
		"a preview of no size": strings.Replace(able, "Preview: 8", "Preview: x", 1),
		"a negative preview":   strings.Replace(able, "Preview: 8", "Preview: -8", 1),
		"a TTL of no time":     strings.Replace(able, "Preview: 8", "Options-TTL: soon", 1),
		"connections":          strings.Replace(able, "Preview: 8", "Max-Connections: 1.5", 1),
		"more":                 able + "x",
		"a body":               strings.Replace(able, "null-body", "opt-body", 1),
		"cut":                  strings.TrimSuffix(able, "\r\n"),
		"endless":              able[:len(able)-2] + strings.Repeat("X: y\r\n", 1<<18),
	} {
		f := serve(t, reply, answering(clean204))
		s := newScanner(t, Config{URL: f.url})
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond) // some are waited for
		findings, err := s.Scan(ctx, file(t, sent))
		if got := scannertest.Outcome(findings, err); got != "temporary" || s.Version() != "" {
			t.Errorf("%s: reply %.200q: got %s (%v), version %q, want temporary and none", name, reply, got, err, s.Version())
		}
		if _, err := s.Ping(ctx); err == nil {
			t.Errorf("%s: reply %.200q: Ping succeeded", name, reply)
		}
		cancel()
	}
}

func TestTellsWhatWasFound(t *testing.T) {
	for reply, want := range map[string]string{
		"X-Infection-Found: Type=0; Resolution=2; Threat=Eicar-Test;": "fake: Eicar-Test",
		"X-Infection-Found: threat = A b ;type=0":                     "fake: A b",
		"X-Infection-Found: Type=2; Threat=bomb":                      "fake: a container that may not be opened: bomb",
		"X-Violations-Found: 1\r\n\t-\r\n\tEicar\r\n\t0\r\n\t0":       "fake: Eicar",
		"X-Violations-Found: 1\r\n\ta b\r\n\tEicar\r\n\t0\r\n\t0":     "fake: a b Eicar 0 0",
		"X-Blocked: true\r\nX-Block-Reason: because":                  "fake: blocked because",
		"X-Virus-ID: ab\xff\u202ec":                                   "fake: ab??c",
		"X-Virus-ID: " + strings.Repeat("x", 10_000):                  "fake: " + strings.Repeat("x", 200) + "...",
	} {
		f := serve(t, able, answering(tagged+reply+"\r\n\r\n"))
		p := file(t, sent)
		findings, err := newScanner(t, Config{URL: f.url}).Scan(t.Context(), p)
		if err != nil || len(findings) != 1 || findings[0].Detail != want || findings[0].Part != p {
			t.Errorf("%.100q: got %+v, %v, want %q", reply, findings, err, want)
		}
	}
}
