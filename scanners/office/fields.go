package office

import (
	"fmt"
	"html"
	"strings"
)

const (
	// maxCode is how many bytes of the code of a field are kept.
	maxCode = 1 << 10
	// maxFields is how many fields within fields are told apart.
	maxFields = 32
)

func unescape(s string) string { return html.UnescapeString(s) }

// field follows the fields of Word (ECMA-376 part 1, 17.16): their code is the text of instrText, which
// may be in any number of runs, and in which there may be other fields.
func (s *scan) field(t *tag) {
	switch {
	case t.name == "fldSimple":
		s.code(t.get("instr"))
	case t.name == "instrText":
		s.inCode = !t.end && !t.empty
		if s.inCode && len(s.fields) == 0 {
			s.fields = append(s.fields, "")
		}
	case t.name == "fldChar" && !t.end:
		switch t.get("fldCharType") {
		case "begin":
			if len(s.fields) < maxFields {
				s.fields = append(s.fields, "")
			}
		case "separate", "end":
			s.endField()
		}
	}
}

func (s *scan) addCode(text string) {
	last := &s.fields[len(s.fields)-1]
	if n := maxCode - len(*last); n > 0 {
		*last += text[:min(len(text), n)]
	}
}

// endField ends the code of the field that began last.
func (s *scan) endField() {
	if n := len(s.fields); n > 0 {
		s.code(s.fields[n-1])
		s.fields = s.fields[:n-1]
	}
}

func (s *scan) endFields() {
	for len(s.fields) > 0 {
		s.endField()
	}
}

// code looks at the code of a field.
func (s *scan) code(code string) {
	if command, ok := DDECode(code); ok {
		s.report(DDE, "a field "+command)
	}
}

// DDECode reports whether the code of a field of Word talks to another program, and tells what for
// people.
func DDECode(code string) (string, bool) {
	code = strings.TrimLeft(code, " \t\r\n\u00a0\"")
	word, rest, _ := strings.Cut(code, " ")
	switch word = strings.ToUpper(strings.Trim(word, " \t\r\n\"")); word {
	case "DDE", "DDEAUTO":
		return fmt.Sprintf("%s %s", word, quoted(strings.TrimSpace(rest))), true
	}
	return "", false
}
