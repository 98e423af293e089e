package sanitize

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

// maxDateWord is the longest word that a date may have in good faith; "GMT" and a thousand letters
// is what made Outlook Express run the sender's code (CVE-2000-0567).
const maxDateWord = 64

var (
	// anyDate is what clients read a date from, in whatever form: two numbers and a time.
	anyDate = regexp.MustCompile(`[0-9].*[0-9]{1,2}[:.][0-9]{2}|[0-9]{1,2}[:.][0-9]{2}.*[0-9]`)
	// goodDate is the part of a date that can be written anew (RFC 5322 section 3.3 and 4.3).
	goodDate = regexp.MustCompile(`(?i)\b([0-9]{1,2})[ \t\r\n-]+(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*[ \t\r\n-]+([0-9]{2,4})[ \t\r\n]+([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?(?:[ \t\r\n]*([+-][0-9]{4})\b)?`)
)

// mendDate writes a date anew that clients overflow at, or cannot read; the date of the first
// Received field takes its place if nothing of it can be read. Odd dates that people and clients
// can make sense of stay: there are many.
func mendDate(c *fieldContext, v string) (string, string) {
	if !c.isDate() {
		return v, ""
	}
	detail := ""
	text := unfolded(v)
	for w := range strings.FieldsSeq(withoutComments(text)) {
		if len(w) > maxDateWord {
			detail = fmt.Sprintf("a word of %d bytes", len(w))
		}
	}
	if detail == "" && anyDate.MatchString(text) {
		return v, ""
	}
	if detail == "" {
		detail = fmt.Sprintf("no date: %.60q", strings.TrimSpace(text))
	}
	return c.dateAnew(text), detail
}

func (c *fieldContext) isDate() bool { return c.name == "date" || c.name == "resent-date" }

// dateAnew is a date that all clients can read in the place of one, or of the first Received field.
func (c *fieldContext) dateAnew(text string) string {
	if d, ok := readDate(text); ok {
		return " " + d
	}
	if received := c.part.Header.Get("Received"); received != "" {
		if d, ok := readDate(received[strings.LastIndexByte(received, ';')+1:]); ok {
			return " " + d
		}
	}
	return unknownDate
}

// unknownDate is the beginning of time, by which clients sort it last.
const unknownDate = " Thu, 01 Jan 1970 00:00:00 +0000"

// readDate reads a date as leniently as the form can be told, and writes it as RFC 5322 wants it.
func readDate(s string) (string, bool) {
	m := goodDate.FindStringSubmatch(s)
	if m == nil {
		return "", false
	}
	if m[6] == "" {
		m[6] = "00"
	}
	if m[7] == "" {
		m[7] = "+0000"
	}
	year := m[3]
	if len(year) == 2 { // RFC 5322 section 4.3
		year = map[bool]string{true: "20", false: "19"}[year < "50"] + year
	}
	month := strings.ToUpper(m[2][:1]) + strings.ToLower(m[2][1:])
	t, err := time.Parse("2 Jan 2006 15:4:5 -0700", strings.Join([]string{m[1], month, year, m[4] + ":" + m[5] + ":" + m[6], m[7]}, " "))
	if err != nil {
		return "", false
	}
	return t.Format("Mon, 02 Jan 2006 15:04:05 -0700"), true
}

// mendMIMEVersion puts the only version there is in the place of another. A comment is common
// there (RFC 2045 section 4).
func mendMIMEVersion(c *fieldContext, v string) (string, string) {
	if c.name != "mime-version" {
		return v, ""
	}
	version := strings.Join(strings.Fields(withoutComments(unfolded(v))), "")
	if version == "1.0" {
		return v, ""
	}
	return " 1.0", fmt.Sprintf("%.60q", version)
}
