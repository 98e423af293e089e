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

// Record gives the edits that put an Authentication-Results field (RFC 8601) with what is found in a
// message at its top, right below the fields of the MTA; none if no signature was verified. Other
// fields in our name are removed: they are forged, or of another time, and whoever trusts the name
// could not tell (RFC 8601 section 5). A message that gets no field of ours keeps them, because a
// filter before us may well have written them under the name of this host.
func (s *Scanner) Record(m *eml.Message, findings []eml.Finding) []eml.Edit {
	var results []string
	for i := range findings {
		if result, ok := strings.CutPrefix(findings[i].Check, area); ok {
			results = append(results, resinfo(result, findings[i].Detail))
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
// such that they need no quotes.
func resinfo(result, detail string) string {
	names, why, _ := strings.Cut(detail, ": ")
	out := "dkim=" + result
	if why != "" {
		out += ` reason="` + plain(why) + `"`
	}
	for item := range strings.FieldsSeq(names) {
		if !strings.HasSuffix(item, "=?") {
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
