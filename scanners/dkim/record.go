package dkim

import (
	"strings"

	"rastel/sanitize/eml"
)

const (
	resultsField = "Authentication-Results"
	// maxReason is how much of the reason for a result is recorded.
	maxReason = 100
)

// methods are the areas of checks that are results (RFC 8601 section 2.7), and what they are recorded
// as. What is no result in them, such as dmarc/reject, is not recorded.
var methods = []struct{ area, name string }{{area, "dkim"}, {"spf/", "spf"}, {"dmarc/", "dmarc"}}

// isResult has the words for results of all methods.
var isResult = map[string]bool{pass: true, fail: true, tempError: true, permError: true, "none": true, "neutral": true, "softfail": true}

// Record gives the edits that put an Authentication-Results field (RFC 8601) with what is found in a
// message at its top, right below the fields of the MTA; none if nothing was verified. It holds the
// results of this package, and those of scanners/dmarc, whose findings have details of the same form. Other
// fields in our name are removed: they are forged, or of another time, and whoever trusts the name
// could not tell (RFC 8601 section 5). A message that gets no field of ours keeps them, because a
// filter before us may well have written them under the name of this host.
func (s *Scanner) Record(m *eml.Message, findings []eml.Finding) []eml.Edit {
	var results []string
	for i := range findings {
		for _, m := range methods {
			if result, ok := strings.CutPrefix(findings[i].Check, m.area); ok && isResult[result] {
				results = append(results, resinfo(m.name, result, findings[i].Detail))
			}
		}
	}
	if len(results) == 0 {
		return nil
	}
	h := &m.Root.Header
	line := resultsField + ": " + s.cfg.AuthservID + ";\r\n\t" + strings.Join(results, ";\r\n\t") + "\r\n"
	edits := []eml.Edit{{Part: m.Root, Region: eml.InHeader, Text: []byte(line)}}
	for f := range h.All(resultsField) {
		if strings.EqualFold(authservID(h.Value(f)), s.cfg.AuthservID) {
			edits = append(edits, eml.Edit{Part: m.Root, Region: eml.InHeader, Start: f.Start, End: f.End})
		}
	}
	return edits
}

// resinfo is one result (RFC 8601 section 2.2). The detail is that of a finding; names in it are
// such that they need no quotes. A property that does not say what it is of is one of a header field.
func resinfo(method, result, detail string) string {
	names, why, _ := strings.Cut(detail, ": ")
	out := method + "=" + result
	if why != "" {
		out += ` reason="` + plain(why) + `"`
	}
	for item := range strings.FieldsSeq(names) {
		switch property, _, _ := strings.Cut(item, "="); {
		case strings.HasSuffix(item, "=?"):
		case strings.Contains(property, "."):
			out += " " + item
		default:
			out += " header." + item
		}
	}
	return out
}

// plain makes text fit for a quoted string on one line.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' || r == '\\' {
			return '?'
		}
		return r
	}, s[:min(len(s), maxReason)])
}

// authservID is the name at the beginning of an Authentication-Results field: behind comments, in
// quotes or not, and before a version (RFC 8601 section 2.2).
func authservID(v string) string {
	for v = strings.TrimLeft(v, " \t\r\n"); strings.HasPrefix(v, "("); v = strings.TrimLeft(v, " \t\r\n") {
		depth, end := 0, len(v)
		for i := 0; i < len(v) && end == len(v); i++ {
			switch v[i] {
			case '\\':
				i++
			case '(':
				depth++
			case ')':
				if depth--; depth == 0 {
					end = i + 1
				}
			}
		}
		v = v[end:]
	}
	if quoted, ok := strings.CutPrefix(v, `"`); ok {
		name, _, _ := strings.Cut(quoted, `"`)
		return strings.ReplaceAll(name, `\`, "")
	}
	if i := strings.IndexAny(v, "; \t\r\n("); i >= 0 {
		v = v[:i]
	}
	return v
}
