package sanitize

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rastel/sanitize/eml"
)

// object makes a message of one part with that content, in base64 so that any bytes are its own.
func objectMessage(t testing.TB, media, content string) *eml.Message {
	t.Helper()
	s := eml.NewSpool(eml.SpoolOptions{})
	fmt.Fprintf(s, "Content-Type: %s\r\nContent-Transfer-Encoding: base64\r\n\r\n%s", media, base64Lines([]byte(content)))
	s.CloseWrite(nil)
	m, _, err := eml.Parse(t.Context(), &eml.Envelope{}, s, eml.Limits{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close(); s.Close() })
	return m
}

// defangObject gives the content with all fixes, and the checks that were found; those without a fix
// with a "!".
func defangObject(t testing.TB, media, content string) (string, []string) {
	t.Helper()
	m := objectMessage(t, media, content)
	findings, err := (VObjects{}).Scan(t.Context(), m.Root)
	if err != nil {
		t.Fatal(err)
	}
	var edits []eml.Edit
	var found []string
	for _, f := range findings {
		if strings.HasPrefix(f.Check, "page/") {
			continue
		}
		if len(f.Fix) == 0 {
			found = append(found, "!"+f.Check)
		} else {
			found = append(found, f.Check)
		}
		edits = append(edits, f.Fix...)
	}
	patch, err := eml.NewPatch(m, edits)
	if err != nil {
		t.Fatalf("%q: %v", content, err)
	}
	var out bytes.Buffer
	if _, err := patch.WriteTo(&out); err != nil {
		t.Fatal(err)
	}
	_, body, _ := strings.Cut(out.String(), "\r\n\r\n")
	raw, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(body), ""))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw), found
}

func TestCalendarsAndCards(t *testing.T) {
	many := strings.Repeat("20260101,", maxRecurrences) + "20260101"
	for _, tt := range []struct{ media, content, want, found string }{
		{"text/calendar", "URL:https://example.org/", "", ""},
		{"text/calendar", "URL:<javascript:x>", "X-DEFANGED-URL:<javascript:x>", "calendar/url"},
		{"text/calendar", "X-FOO-URL:file:///x", "X-DEFANGED-X-FOO-URL:file:///x", "calendar/url"},
		{"text/calendar", "X-WR-CALDESC:file: a", "", ""},
		{"text/calendar", "SUMMARY:javascript: a history", "", ""},
		{"text/calendar", "X-FOO;VALUE=URI:vbscript:x", "X-DEFANGED-X-FOO;VALUE=URI:vbscript:x", "calendar/url"},
		{"text/calendar", "IMAGE;VALUE=URI:data:image/png;base64,AAAA", "", ""},
		{"text/calendar", "IMAGE;VALUE=URI:data:text/html,x", "X-DEFANGED-IMAGE;VALUE=URI:data:text/html,x", "calendar/url"},
		{"text/calendar", "ORGANIZER;DIR=\"file://x/y\":mailto:a", "ORGANIZER;X-DEFANGED-DIR=\"file://x/y\":mailto:a", "calendar/url"},
		{"text/calendar", "BEGIN:VALARM\nACTION:EMAIL\nEND:VALARM\nATTACH:https://x/", "", ""},
		{"text/calendar", "BEGIN:VALARM\nACTION: procedure \nEND:VALARM", "BEGIN:VALARM\nACTION: X-DEFANGED-procedure \nEND:VALARM", "calendar/alarm"},
		{"text/calendar", "RRULE:FREQ=DAILY;COUNT=9999", "", ""},
		{"text/calendar", "RRULE:FREQ=DAILY;COUNT=99999999999999999999", "X-DEFANGED-RRULE:FREQ=DAILY;COUNT=99999999999999999999", "calendar/recurrence"},
		{"text/calendar", "RRULE:FREQ=DAILY;INTERVAL=0", "X-DEFANGED-RRULE:FREQ=DAILY;INTERVAL=0", "calendar/recurrence"},
		{"text/calendar", "RRULE:FREQ=DAILY;BYHOUR=1,2,3,4,5,6,7,8,9,10;BYMINUTE=1,2,3,4,5,6,7,8,9,10;BYSECOND=1,2,3,4,5", "X-DEFANGED-RRULE:FREQ=DAILY;BYHOUR=1,2,3,4,5,6,7,8,9,10;BYMINUTE=1,2,3,4,5,6,7,8,9,10;BYSECOND=1,2,3,4,5", "calendar/recurrence"},
		{"text/calendar", "RDATE:" + many, "X-DEFANGED-RDATE:" + many, "calendar/recurrence"},
		{"text/calendar", "DESCRIPTION:a\\n<scr\\\nipt>", "", ""},
		{"text/calendar", "DESCRIPTION:<a href=\"java\\nscript:x\">", "DESCRIPTION:<a href=\"DEFANGED_java\\nscript:x\">", "html/url"},
		{"text/calendar", strings.Repeat("BEGIN:X\n", maxObjectDepth+2), "", "!calendar/limit"},
		{"text/calendar", "A:<" + strings.Repeat("x", maxObjectText), "", "!calendar/limit"},
		{"text/calendar; charset=utf-7", "A:b", "", "!calendar/charset"},
		{"text/vcard", "NOTE:<img src=x onerror=y>", "NOTE:<img src=x DEFANGED_onerror=y>", "html/event-handler"},
		{"text/vcard", "IMPP:skype:ann", "", ""},
		{"text/vcard", "AGENT;VALUE=uri:search-ms:x", "X-DEFANGED-AGENT;VALUE=uri:search-ms:x", "card/url"},
		{"text/vcard", "KEY;ENCODING=b:PHNjcmlwdD4=", "", ""},
		{"text/plain", "BEGIN:VTODO\nURL:file:///x", "", ""},
	} {
		content := strings.ReplaceAll(tt.content, "\n", "\r\n")
		want := strings.ReplaceAll(tt.want, "\n", "\r\n")
		if want == "" {
			want = content
		}
		got, found := defangObject(t, tt.media, content)
		if got != want || strings.Join(found, " ") != tt.found {
			t.Errorf("%.100q: got %.200q, %q\nwant %.200q, %q", content, got, found, want, tt.found)
		}
	}
}

func TestCalendarWhoseLongLinesAreBroken(t *testing.T) {
	const begin = "X-ALT-DESC:<img "
	for n, want := range map[int]bool{989: true, 998: true, 900: false, 995: false} {
		m := raw(t, "Content-Type: text/calendar\n\nBEGIN:VCALENDAR\n"+begin+strings.Repeat("x", n-len(begin))+"onerror=y src=z>"+strings.Repeat(" ", 100)+"\nEND:VCALENDAR\n")
		f, err := (VObjects{}).Scan(t.Context(), m.Root)
		if err != nil {
			t.Fatal(err)
		}
		if broken := len(f) == 1 && f[0].Check == "calendar/broken-line" && len(f[0].Fix) == 1; broken != want {
			t.Errorf("%d bytes: %v, want %v", n, f, want)
		}
	}
}

// FuzzVObjects looks for a calendar or card in which something is found again that was made harmless,
// or that is changed a second time.
func FuzzVObjects(f *testing.F) {
	files, err := filepath.Glob("../testdata/cases/i-*.case")
	if err != nil || len(files) == 0 {
		f.Fatal("no seeds")
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		if i := bytes.Index(b, []byte("BEGIN:V")); i >= 0 {
			f.Add(string(b[i:]), strings.Contains(file, "card"))
		}
	}
	f.Fuzz(func(t *testing.T, content string, card bool) {
		media := "text/calendar"
		if card {
			media = "text/vcard"
		}
		once, found := defangObject(t, media, content)
		twice, again := defangObject(t, media, once)
		for _, check := range again {
			if !strings.HasPrefix(check, "!") && !slices.Contains(found, "!"+check) {
				t.Errorf("%s is found again\n%q\n%q", check, content, once)
			}
		}
		if once != twice {
			t.Errorf("changed twice:\n%q\n%q\n%q", content, once, twice)
		}
		if len(found) == 0 && once != content {
			t.Errorf("changed without a finding:\n%q\n%q", content, once)
		}
	})
}
