package sanitize

import (
	"fmt"
	"iter"
	"strings"
)

// A segment is what stands between two semicolons of a structured field (RFC 2045 section 5.1),
// the first of them included.
type segment struct {
	start, end int
	name       string // of a parameter: in lower case, without what RFC 2231 puts behind it
	value      string // of a parameter: as it stands, but without comments, quotes and blanks around it
	isParam    bool
}

// segments takes a field apart, as strict clients do: semicolons in quotes and comments divide
// nothing.
func segments(v string) iter.Seq[segment] {
	return func(yield func(segment) bool) {
		start, more := 0, true
		scanField(v, func(i int) {
			if more {
				more = yield(newSegment(v, start, i))
				start = i
			}
		}, nil)
		if more {
			yield(newSegment(v, start, len(v)))
		}
	}
}

func newSegment(v string, start, end int) segment {
	s := segment{start: start, end: end}
	text := strings.TrimPrefix(v[start:end], ";")
	name, value, ok := strings.Cut(text, "=")
	if start == 0 || !ok {
		return s
	}
	name, _, _ = strings.Cut(strings.TrimSpace(withoutComments(name)), "*")
	s.name, s.isParam = strings.ToLower(name), name != ""
	s.value = strings.TrimSpace(withoutComments(value))
	if inner, ok := strings.CutPrefix(s.value, `"`); ok {
		s.value = strings.TrimSuffix(inner, `"`)
	}
	return s
}

// scanField calls semicolon for each that divides a field, and comment for each comment, with
// where it begins and ends. Either may be nil. A comment without an end is none.
func scanField(v string, semicolon func(i int), comment func(start, end int)) {
	quoted, open := false, 0
	for i := 0; i < len(v); i++ {
		switch c := v[i]; {
		case c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '(':
			end := -1
			if open < maxOpenComments {
				end = fieldCommentEnd(v, i)
			}
			if end < 0 {
				open++
				continue
			}
			if comment != nil {
				comment(i, end)
			}
			i = end - 1
		case c == ';' && semicolon != nil:
			semicolon(i)
		}
	}
}

// maxOpenComments is for how many comments of a field the end is looked for in vain, so that
// thousands of beginnings do not take quadratic time.
const maxOpenComments = 20

// fieldCommentEnd is where the comment ends that begins at byte i; -1 if it does not.
func fieldCommentEnd(v string, i int) int {
	depth := 0
	for ; i < len(v); i++ {
		switch v[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return -1
}

// withoutComments is a value without its comments (RFC 5322 section 3.2.2).
func withoutComments(v string) string {
	if strings.IndexByte(v, '(') < 0 {
		return v
	}
	var b strings.Builder
	from := 0
	scanField(v, nil, func(start, end int) {
		b.WriteString(v[from:start])
		from = end
	})
	return b.String() + v[from:]
}

// structured are the MIME fields that are no text.
var structured = set("content-type content-disposition content-transfer-encoding content-id")

// mendComments takes comments out of MIME fields. They are harmless where clients agree about
// them; where they do not, the message is ambiguous anyway.
func mendComments(c *fieldContext, v string) (string, string) {
	if !structured[c.name] {
		return v, ""
	}
	n := 0
	scanField(v, nil, func(int, int) { n++ })
	if n == 0 {
		return v, ""
	}
	return withoutComments(v), fmt.Sprintf("%d comments", n)
}

// shellCommand is what a shell runs within a text, whatever is around it: a program that hands a
// field to a shell, as metamail did, runs the sender's command. It is the first such command, between
// two back-quotes or only its beginning; empty if there is none.
func shellCommand(text string) string {
	at, end := strings.IndexByte(text, '`'), 0
	if n := strings.IndexByte(text[at+1:], '`'); at >= 0 && n >= 0 {
		end = at + n + 2
	} else {
		at = len(text)
	}
	for i, c := range []byte(text[:at]) {
		if c == '$' && i+1 < len(text) && (text[i+1] == '(' || text[i+1] == '{') {
			return text[i : i+2]
		}
	}
	return text[at:max(at, end)]
}

// mendShell makes text of what a shell would run. The boundary stays as it is: the parts would be
// lost with it.
func mendShell(c *fieldContext, v string) (string, string) {
	if !c.isMIME() || shellCommand(v) == "" {
		return v, ""
	}
	var b strings.Builder
	detail := ""
	for s := range segments(v) {
		text := v[s.start:s.end]
		if found := shellCommand(text); found != "" && s.name != "boundary" {
			if detail == "" {
				detail = fmt.Sprintf("%.60q", found)
			}
			text = strings.NewReplacer("`", "'", "$(", "_(", "${", "_{").Replace(text)
		}
		b.WriteString(text)
	}
	return b.String(), detail
}

// mendParameters drops the parameters of a field for which bad tells what is wrong. A boundary
// stays: the parts would be lost with it.
func mendParameters(c *fieldContext, v string, bad func(s segment) string) (string, string) {
	if c.name != "content-type" && c.name != "content-disposition" {
		return v, ""
	}
	var b strings.Builder
	detail := ""
	for s := range segments(v) {
		if s.isParam && s.name != "boundary" {
			if why := bad(s); why != "" {
				detail = s.name + why
				continue
			}
		}
		b.WriteString(v[s.start:s.end])
	}
	return b.String(), detail
}

func mendNullParameters(c *fieldContext, v string) (string, string) {
	return mendParameters(c, v, func(s segment) string {
		if s.value == "" {
			return " is empty"
		}
		return ""
	})
}

// mendLongParameters leaves names to Names, which shortens them.
func mendLongParameters(c *fieldContext, v string) (string, string) {
	if len(v) <= c.config.parameter() {
		return v, ""
	}
	return mendParameters(c, v, func(s segment) string {
		if n := len(s.value); n > c.config.parameter() && s.name != "name" && s.name != "filename" {
			return fmt.Sprintf(" has %d bytes", n)
		}
		return ""
	})
}

// mendLongMIME cuts MIME fields that are too long: texts as other fields are, and of structured ones
// all but what the content cannot be read without.
func mendLongMIME(c *fieldContext, given string) (string, string) {
	limit := c.config.mimeField()
	v := withCRLF(given)
	if !c.isMIME() || len(v) <= limit {
		return given, ""
	}
	detail := fmt.Sprintf("%d bytes", len(v))
	if c.name != "content-type" && c.name != "content-disposition" {
		if cut := shorten(v, limit); decodedControl(decoded(cut)) == "" {
			return cut, detail
		}
		return shorten(inert(v), limit), detail // without its end it would be read in another way
	}
	var b strings.Builder
	for s := range segments(v) {
		text := v[s.start:s.end]
		switch {
		case s.start == 0 && len(text) > limit:
			b.WriteString(map[string]string{"content-type": " " + neutralType, "content-disposition": " attachment"}[c.name])
		case s.start == 0, s.name == "boundary", s.name == "charset" && len(text) <= limit/4:
			b.WriteString(text)
		}
	}
	if b.String() == v {
		return given, ""
	}
	return b.String(), detail
}

// withCRLF is a value as it is written: each fold is CRLF.
func withCRLF(v string) string {
	if strings.Count(v, "\n") == strings.Count(v, "\r\n") {
		return v
	}
	return strings.ReplaceAll(strings.ReplaceAll(v, "\r\n", "\n"), "\n", "\r\n")
}
