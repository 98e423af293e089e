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
func (Header) ScanMessage(_ context.Context, m *eml.Message) ([]eml.Finding, error) {
	var out []eml.Finding
	h := &m.Root.Header
	for _, f := range h.Fields {
		name, value := strings.ToLower(f.Name), h.RawValue(f)
		found := func(check, detail string, fix ...eml.Edit) {
			out = append(out, eml.Finding{Check: check, Part: m.Root, Detail: f.Name + ": " + detail, Fix: fix})
		}
		limit := maxField
		if name == "subject" {
			limit = maxSubject
		}
		if n := len(h.Value(f)); n > limit && shortFields[name] {
			found("header/long", fmt.Sprintf("%d bytes", n), shortened(m.Root, f, limit))
		}
		if n := bytes.Count(value, []byte("<>")); n >= minNullAddrs {
			found("header/null-address", fmt.Sprintf("%d null addresses", n), without(m.Root, f, "<>"))
		}
		if i := bytes.IndexFunc(value, isControl); i >= 0 {
			found("header/control", fmt.Sprintf("byte %#02x", value[i]))
		}
	}
	return out, nil
}

// isControl tells what no field holds but folds and tabs (RFC 5322 section 2.2). ISO-2022 needs
// the escape character.
func isControl(r rune) bool {
	return r < ' ' && r != '\t' && r != '\n' && r != '\r' && r != 0x1b || r == 0x7f
}

// shortened cuts the value of a field, not within an encoded word or a character.
func shortened(p *eml.Part, f eml.Field, limit int) eml.Edit {
	v := p.Header.Value(f)[:limit]
	if i := strings.LastIndex(v, "=?"); i >= 0 && !strings.HasSuffix(v, "?=") {
		v = v[:i]
	}
	for v != "" && v[len(v)-1] >= 0x80 {
		v = v[:len(v)-1]
	}
	return replaceValue(p, f, strings.TrimSpace(v))
}

// without takes all of s out of the value of a field.
func without(p *eml.Part, f eml.Field, s string) eml.Edit {
	return replaceValue(p, f, strings.ReplaceAll(p.Header.Value(f), s, ""))
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
