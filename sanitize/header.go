package sanitize

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"rastel/sanitize/eml"
)

// Limits of header fields. They are those of the Procmail Email Sanitizer, which cut what made
// clients of its day overflow; what is longer is no mail that people write.
const (
	maxSubject   = 250 // of the Subject, in bytes
	maxField     = 500 // of the other fields that long
	minNullAddrs = 6   // "<>" in one field
)

var headerChecks = []eml.Check{
	{ID: "header/long", Doc: "A header field is longer than it can have any reason to be."},
	{ID: "header/null-address", Doc: "An address field holds many null addresses, which made mail servers fail."},
	{ID: "header/control", Doc: "A header field holds control characters."},
}

// shortFields are fields whose length has a limit; lists of addresses and the like are long for
// good reasons.
var shortFields = set(`subject mime-version date resent-date sender resent-sender from resent-from reply-to
	errors-to disposition-notification-to apparently-to message-id return-path status x-status x-keywords`)

// Header looks at the header of the message: at fields that are too long, or damaged so that they
// hurt those who read them.
type Header struct{}

// Checks are all checks that ScanMessage may report.
func (Header) Checks() []eml.Check { return headerChecks }

// Scan finds nothing: what it looks for is in the message's own header.
func (Header) Scan(context.Context, *eml.Part) ([]eml.Finding, error) { return nil, nil }

// ScanMessage examines the message's own header.
func (s Header) ScanMessage(_ context.Context, m *eml.Message) ([]eml.Finding, error) {
	var out []eml.Finding
	for _, f := range m.Root.Header.Fields {
		out = append(out, s.scanField(m.Root, f)...)
	}
	return out, nil
}

// scanField examines one field. All findings about it have the same fix: a field can be replaced
// once only.
func (Header) scanField(p *eml.Part, f eml.Field) (out []eml.Finding) {
	h := &p.Header
	fixed := h.Value(f)
	found := func(check, detail string) {
		out = append(out, eml.Finding{Check: check, Part: p, Detail: f.Name + ": " + detail})
	}
	limit := maxField
	name := strings.ToLower(f.Name)
	if name == "subject" {
		limit = maxSubject
	}
	if n := len(fixed); n > limit && shortFields[name] {
		found("header/long", fmt.Sprintf("%d bytes", n))
		fixed = shortened(fixed, limit)
	}
	if n := bytes.Count(h.RawValue(f), []byte("<>")); n >= minNullAddrs {
		found("header/null-address", fmt.Sprintf("%d null addresses", n))
		fixed = strings.ReplaceAll(fixed, "<>", "")
	}
	if i := bytes.IndexFunc(h.RawValue(f), isControl); i >= 0 {
		found("header/control", fmt.Sprintf("byte %#02x", h.RawValue(f)[i]))
		fixed = withoutControls(fixed)
	}
	for i := range out {
		out[i].Fix = []eml.Edit{replaceValue(p, f, fixed)}
	}
	return out
}

// isControl tells what no field holds but folds and tabs (RFC 5322 section 2.2). ISO-2022 needs
// the escape character.
func isControl(r rune) bool {
	return r < ' ' && r != '\t' && r != '\n' && r != '\r' && r != 0x1b || r == 0x7f
}

// withoutControls has a blank in place of each control character.
func withoutControls(v string) string {
	b := []byte(v) // which need not be UTF-8
	for i, c := range b {
		if isControl(rune(c)) {
			b[i] = ' '
		}
	}
	return strings.TrimSpace(string(b))
}

// shortened cuts a value, not within an encoded word or a character.
func shortened(v string, limit int) string {
	v = v[:limit]
	if i := strings.LastIndex(v, "=?"); i >= 0 && !strings.HasSuffix(v, "?=") {
		v = v[:i]
	}
	for v != "" && v[len(v)-1] >= 0x80 {
		v = v[:len(v)-1]
	}
	return strings.TrimSpace(v)
}

func replaceValue(p *eml.Part, f eml.Field, v string) eml.Edit {
	return eml.Edit{Part: p, Region: eml.InHeader, Start: f.Start, End: f.End, Text: []byte(f.Name + ": " + foldLine(v) + "\r\n")}
}

// foldLine breaks a value at blanks, so that no line is longer than need be (RFC 5322 section
// 2.2.3).
func foldLine(v string) string {
	var b strings.Builder
	col := 0
	for i, word := range strings.Split(v, " ") {
		if i > 0 {
			if col+len(word) > 70 && word != "" {
				b.WriteString("\r\n")
				col = 0
			}
			b.WriteByte(' ')
		}
		b.WriteString(word)
		col += len(word) + 1
	}
	return b.String()
}
