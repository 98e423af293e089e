package sanitize

import (
	"bytes"
	"context"
	"strings"

	"rastel/sanitize/eml"
)

var headerChecks = []eml.Check{
	{ID: "header/long", Doc: "A header field is longer than it can have any reason to be."},
	{ID: "header/null-address", Doc: "An address field holds many null addresses, which made mail servers fail."},
	{ID: "header/control", Doc: "A header field holds control characters."},
	{ID: "header/bare-cr", Doc: "A header field holds a carriage return that ends no line, which some clients take for the end of one."},
	{ID: "header/encoded-control", Doc: "A header field holds encoded words that decode to control characters, such as line breaks."},
	{ID: "header/html", Doc: "A header field that people are shown holds active HTML."},
	{ID: "header/date", Doc: "The date can be read by no client, or is made to overflow."},
	{ID: "header/mime-version", Doc: "The MIME version is not 1.0."},
	{ID: "header/shell", Doc: "A MIME field holds what a shell would run."},
	{ID: "header/comment", Doc: "A MIME field holds a comment, by which some clients are misled."},
	{ID: "header/null-parameter", Doc: "A parameter of a MIME field is there and empty, which made mail servers fail."},
	{ID: "header/long-parameter", Doc: "A parameter of a MIME field is longer than it can have any reason to be."},
	{ID: "header/long-mime", Doc: "A MIME field is longer than it can have any reason to be."},
	{ID: "header/forged-trace", Doc: "A field that only this filter writes came in with the message."},
}

// Header looks at the header of the message, and those of its entities: at fields that are too
// long, or damaged so that they hurt those who read them. What it looks for is what the Procmail
// Email Sanitizer mended, and what has been abused since.
type Header struct{ Config Config }

// Checks are all checks that ScanMessage may report.
func (Header) Checks() []eml.Check { return headerChecks }

// Scan finds nothing: what it looks for is known when all entities are.
func (Header) Scan(context.Context, *eml.Part) ([]eml.Finding, error) { return nil, nil }

// ScanMessage examines the headers of all entities. Those of messages in archives and the like
// are left alone: nothing in them can be changed.
func (s Header) ScanMessage(_ context.Context, m *eml.Message) ([]eml.Finding, error) {
	var out []eml.Finding
	m.Root.Walk(func(p *eml.Part) bool {
		if p.Member() || p.ReadFrom() != nil {
			return true
		}
		for _, f := range p.Header.Fields {
			out = append(out, s.scanField(p, f)...)
		}
		return true
	})
	return out, nil
}

// scanField examines one field. All findings about it have the same fix: a field can be replaced
// once only.
func (s Header) scanField(p *eml.Part, f eml.Field) (out []eml.Finding) {
	if p.Parent == nil && s.isTrace(p, f) {
		fix := []eml.Edit{{Part: p, Region: eml.InHeader, Start: f.Start, End: f.End}}
		return []eml.Finding{{Check: "header/forged-trace", Part: p, Detail: f.Name, Fix: fix}}
	}
	c := &fieldContext{config: s.Config.Header, part: p, name: strings.ToLower(f.Name), message: isMessage(p)}
	raw := p.Header.RawValue(f)
	v := string(raw)
	for i := range mends {
		fixed, detail := mends[i].mend(c, v)
		if detail == "" {
			continue
		}
		v = fixed
		out = append(out, eml.Finding{Check: mends[i].check, Part: p, Detail: f.Name + ": " + detail})
	}
	if len(out) > 0 {
		fix := []eml.Edit{replaceValue(p, f, v)}
		for i := range out {
			out[i].Fix = fix
		}
	}
	return out
}

// A fieldContext is what is known about a field besides its value.
type fieldContext struct {
	config  HeaderConfig
	part    *eml.Part
	name    string // in lower case
	message bool   // it is in the header of a message, not of a part
}

func (c *fieldContext) isMIME() bool { return strings.HasPrefix(c.name, "content-") }

// A mend looks for damage in the value of a field, as it stands in the message with folds. It
// gives the value without the damage, and what it was, for people; nothing if there is none.
// What it gives it does not mend again, and it changes no byte that it need not.
type mend struct {
	check string
	mend  func(c *fieldContext, v string) (string, string)
}

// mends are made one after the other, each in what the one before has left.
var mends = []mend{
	{"header/bare-cr", mendBareCR},
	{"header/control", mendControl},
	{"header/encoded-control", mendEncodedControl},
	{"header/html", mendHTML},
	{"header/null-address", mendNullAddresses},
	{"header/date", mendDate},
	{"header/mime-version", mendMIMEVersion},
	{"header/shell", mendShell},
	{"header/comment", mendComments},
	{"header/null-parameter", mendNullParameters},
	{"header/long-parameter", mendLongParameters},
	{"header/long-mime", mendLongMIME},
	{"header/long", mendLong},
}

// tracePrefix begins the names of fields that only this filter writes.
const tracePrefix = "x-rastel-"

// releaseField is the token of a released message; the engine verifies it, and removes it anyway.
const releaseField = "X-Rastel-Release"

// isTrace reports whether whoever reads the field takes it for ours.
func (s Header) isTrace(p *eml.Part, f eml.Field) bool {
	if f.Is("Authentication-Results") {
		name := authservID(p.Header.Value(f))
		for _, own := range s.Config.Header.AuthservIDs {
			if strings.EqualFold(own, name) {
				return true
			}
		}
		return false
	}
	return len(f.Name) > len(tracePrefix) && strings.EqualFold(f.Name[:len(tracePrefix)], tracePrefix) && !f.Is(releaseField)
}

// authservID is the name at the beginning of an Authentication-Results field, behind comments
// (RFC 8601 section 2.2).
func authservID(v string) string {
	v = strings.TrimLeft(withoutComments(v), " \t")
	if quoted, ok := strings.CutPrefix(v, `"`); ok {
		name, _, _ := strings.Cut(quoted, `"`)
		return strings.ReplaceAll(name, `\`, "")
	}
	if i := strings.IndexAny(v, "; \t/"); i >= 0 {
		v = v[:i]
	}
	return v
}

// replaceValue gives a field another value. Folds become CRLF, for only that is one.
func replaceValue(p *eml.Part, f eml.Field, v string) eml.Edit {
	b := append([]byte(f.Name), ':')
	for line := range strings.Lines(v) {
		line = strings.TrimRight(line, "\r\n")
		if strings.Trim(line, " \t") == "" && len(b) > len(f.Name)+1 {
			continue // nothing is left of it, and a line of blanks may end a header
		}
		if len(b) > len(f.Name)+1 {
			b = append(b, "\r\n"...)
		}
		b = append(b, line...)
	}
	return eml.Edit{Part: p, Region: eml.InHeader, Start: f.Start, End: f.End, Text: append(bytes.TrimRight(b, " \t"), "\r\n"...)}
}
