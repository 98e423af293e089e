package policy

import (
	"bytes"
	"mime"
	"slices"
	"strings"
	"unicode"

	"rastel/sanitize/eml"
)

// headerEdits adds to edits what changes of fields come to. Where a name is set or removed, what counts is
// what the changes of it, one after the other, leave.
func headerEdits(root *eml.Part, list []change, edits []eml.Edit) []eml.Edit {
	left := map[string][]string{} // values of names that are set or removed
	for i := range list {
		f, name := &list[i], strings.ToLower(list[i].name)
		values, ok := left[name]
		switch {
		case f.kind.name == wordRemoveHeader:
			left[name] = nil
		case f.kind.name == wordSetHeader:
			left[name] = []string{f.value}
		case ok && !slices.Contains(values, f.value):
			left[name] = append(values, f.value)
		}
	}
	done := map[string]bool{}
	for i := range list {
		f, name := &list[i], strings.ToLower(list[i].name)
		if values, ok := left[name]; !ok {
			if e, ok := fieldEdit(root, f.name, f.value, edits); ok {
				edits = append(edits, e)
			}
		} else if !done[name] {
			done[name], edits = true, replaceFields(root, f.name, values, edits)
		}
	}
	return edits
}

// replaceFields gives the message these fields of that name and no others. One that has its value already
// stays as it is. What other edits would make of one of the fields is not made.
func replaceFields(root *eml.Part, name string, values []string, edits []eml.Edit) []eml.Edit {
	h := &root.Header
	for f := range h.All(name) {
		e := eml.Edit{Part: root, Region: eml.InHeader, Start: f.Start, End: f.End}
		before := len(edits)
		edits = slices.DeleteFunc(edits, func(o eml.Edit) bool {
			return o.Part == root && o.Region == eml.InHeader && o.Start == f.Start && o.End == f.End
		})
		switch {
		case cutsInto(e, edits): // it goes with others
			continue
		case len(values) == 0:
			edits = append(edits, e)
			continue
		case len(edits) < before || eml.DecodeWords(h.Value(f)) != values[0]:
			e.Text = []byte(field(f.Name, values[0]) + "\r\n")
			edits = append(edits, e)
		}
		values = values[1:]
	}
	for _, v := range values {
		edits = append(edits, appended(root, field(name, v)))
	}
	return edits
}

// fieldEdit puts a field behind all others of the message, unless the same is there already and
// stays in spite of the other edits. It reports false if it is.
func fieldEdit(root *eml.Part, name, value string, others []eml.Edit) (eml.Edit, bool) {
	for f := range root.Header.All(name) {
		if cutsInto(eml.Edit{Part: root, Region: eml.InHeader, Start: f.Start, End: f.End}, others) {
			continue
		}
		if eml.DecodeWords(root.Header.Value(f)) == value {
			return eml.Edit{}, false
		}
	}
	return appended(root, field(name, value)), true
}

// appended puts a line behind all fields.
func appended(root *eml.Part, line string) eml.Edit {
	end := int64(len(root.Header.Bytes()))
	return eml.Edit{Part: root, Region: eml.InHeader, Start: end, End: end, Text: []byte(line + "\r\n")}
}

// field gives a field without its line break. A value that is not ASCII is in encoded words,
// on lines that are as short as RFC 2047 section 2 wants them.
func field(name, value string) string {
	if ascii(value) {
		return name + ": " + value
	}
	value = strings.ReplaceAll(mime.BEncoding.Encode("utf-8", value), "?= =?", "?=\r\n =?")
	first, _, _ := strings.Cut(value, "\r\n")
	if len(name)+2+len(first) > maxLine {
		return name + ":\r\n " + value
	}
	return name + ": " + value
}

// tagSubject puts tags before the subject. Of several Subject fields each gets them, for mail
// clients show the first or the last. The edits are those that are made otherwise: one that
// replaces a Subject field is given the tags, for a second edit of the same bytes would be
// dropped.
func tagSubject(root *eml.Part, tags []string, edits []eml.Edit) []eml.Edit {
	h := &root.Header
	none := true
	for f := range h.All("Subject") {
		none = false
		line := h.Raw(f)
		i := slices.IndexFunc(edits, func(e eml.Edit) bool {
			return e.Part == root && e.Region == eml.InHeader && e.Start == f.Start && e.End == f.End && isSubject(e.Text)
		})
		if i >= 0 {
			line = edits[i].Text
		}
		_, value, _ := bytes.Cut(line, []byte(":"))
		text, ok := tagged(f.Name, value, tags)
		switch {
		case !ok:
		case i >= 0:
			edits[i].Text = text
		default:
			edits = append(edits, eml.Edit{Part: root, Region: eml.InHeader, Start: f.Start, End: f.End, Text: text})
		}
	}
	if none {
		edits = append(edits, appended(root, leading("Subject", tags, false)))
	}
	return edits
}

// isSubject reports whether text is one Subject field.
func isSubject(text []byte) bool {
	name, value, ok := bytes.Cut(text, []byte(":"))
	for line := range bytes.Lines(bytes.TrimRight(value, "\r\n")) {
		ok = ok && (line[0] == ' ' || line[0] == '\t')
	}
	return ok && strings.EqualFold(string(name), "Subject")
}

// maxLine is how long a line of a header should be at most (RFC 5322 section 2.1.1).
const maxLine = 78

// tagged gives the field with those tags before its value that it does not have yet; it
// reports false if it has all. The value itself stays as it is, byte for byte.
func tagged(name string, value []byte, tags []string) ([]byte, bool) {
	tags = missing(tags, eml.DecodeWords(string(unfolded(value))))
	if len(tags) == 0 {
		return nil, false
	}
	rest := cleaned(bytes.Trim(value, " \t\r\n"))
	line := leading(name, tags, bytes.HasPrefix(rest, []byte("=?")))
	last := line[strings.LastIndexByte(line, '\n')+1:]
	first, _, _ := bytes.Cut(rest, []byte("\r\n"))
	switch {
	case len(rest) == 0:
	case len(last)+1+len(first) > maxLine:
		line += "\r\n "
	default:
		line += " "
	}
	return append([]byte(line), append(rest, "\r\n"...)...), true
}

// missing are the tags that the subject does not begin with. What mail clients put before a
// subject in replies does not count, or each reply would add another tag.
func missing(tags []string, subject string) []string {
	var out []string
	for _, tag := range tags {
		subject = withoutPrefixes(subject)
		if rest, ok := strings.CutPrefix(subject, tag); ok {
			subject = rest
		} else {
			out = append(out, tag)
		}
	}
	return out
}

// maxPrefix is how long "Re", "Fwd" or what other languages have for it may be.
const maxPrefix = 5

// withoutPrefixes takes "Re:", "AW:", "Fwd:" and the like off the beginning.
func withoutPrefixes(s string) string {
	for {
		s = strings.TrimLeftFunc(s, unicode.IsSpace)
		word, rest, ok := strings.Cut(s, ":")
		if !ok || word == "" || len(word) > maxPrefix || strings.ContainsFunc(word, func(r rune) bool { return !unicode.IsLetter(r) }) {
			return s
		}
		s = rest
	}
}

// unfolded is a value without its line breaks (RFC 5322 section 2.2.3).
func unfolded(v []byte) []byte {
	return bytes.Map(func(r rune) rune {
		if r == '\r' || r == '\n' {
			return -1
		}
		return r
	}, v)
}

// cleaned is a value with folds of CRLF and without bytes that a field cannot hold (RFC 5322
// section 2.2): the edit would be refused for them.
func cleaned(v []byte) []byte {
	lines := bytes.Split(v, []byte("\n"))
	for i, line := range lines {
		line = bytes.Clone(bytes.TrimSuffix(line, []byte("\r")))
		for k, c := range line {
			if c == 0 || c == '\r' {
				line[k] = ' '
			}
		}
		lines[i] = line
	}
	return bytes.Join(lines, []byte("\r\n"))
}

// leading are tags as they stand in a field: on lines that are not too long.
func leading(name string, tags []string, blank bool) string {
	lead := strings.Join(tags, " ")
	if !ascii(lead) {
		if blank {
			lead += " " // the blank between two encoded words is not shown (RFC 2047 section 6.2)
		}
		return field(name, lead)
	}
	line, column := name+":", len(name)+1
	for i, tag := range tags {
		if i > 0 && column+1+len(tag) > maxLine {
			line, column = line+"\r\n", 0
		}
		line, column = line+" "+tag, column+1+len(tag)
	}
	return line
}
