package eml

import (
	"fmt"
	"path"
	"strings"
)

// names collects every name that a client would show.
func (p *parser) names(part *Part, types []parsedField, dispositions []string) {
	var found distinct
	add := func(list ...string) {
		for _, v := range list {
			if len(found.list) > p.lim.Names {
				return // there is no end of them
			}
			joined := DecodeWords(joinWords(v))
			v = DecodeWords(v)
			found.add(v)
			found.add(DecodeWords(v)) // what was encoded twice
			found.add(percentDecode(v))
			found.add(ToUTF8("", v))
			found.add(joined)
		}
	}
	var briefs []string
	for i, v := range dispositions {
		f := p.fieldOf(part, v)
		if i == 0 {
			part.Disposition = f.value
		}
		add(f.values("filename")...)
		add(f.values("name")...)
		briefs = append(append(briefs, f.briefs("filename")...), f.briefs("name")...)
	}
	for _, f := range types {
		add(f.values("name")...)
		add(f.values("filename")...)
		add(f.values("file")...) // enmime
		briefs = append(append(briefs, f.briefs("name")...), f.briefs("filename")...)
	}
	add(briefs...)
	p.nameAmbiguity(part, found.list)
	if len(found.list) == 0 { // some clients look further
		for _, field := range []string{"Content-Location", "Content-Description"} {
			v := percentDecode(part.Header.Text(field))
			v, _, _ = strings.Cut(v, "?") // of a URL
			if n := path.Base(v); len(path.Ext(n)) > 1 {
				add(n)
			}
		}
	}
	part.Names = found.list
	if len(part.Names) > p.lim.Names {
		p.limit(part, "mime/limit-names", fmt.Sprintf("more than %d names", p.lim.Names))
		part.Names = part.Names[:p.lim.Names]
	}
}

// nameAmbiguity reports names between which a client's choice decides how a file is opened.
func (p *parser) nameAmbiguity(part *Part, names []string) {
	for _, n := range names {
		if !strings.EqualFold(path.Ext(n), path.Ext(names[0])) {
			p.ambiguousName(part, names)
			return
		}
	}
}

// maxToldNames is how many of the names of a part a finding tells.
const maxToldNames = 10

// ambiguousName does not make the message ambiguous: all names are judged, and the content is
// the same whichever a client shows.
func (p *parser) ambiguousName(part *Part, names []string) {
	p.found(part, "mime/ambiguous-name", fmt.Sprintf("%.200q", names[:min(len(names), maxToldNames)]))
}

// IsNameParam reports whether some client takes the parameter of that name, in lower case, for the
// name of the file: those of RFC 2183 section 2.3 and RFC 2045 section 5.1, and what enmime reads.
func IsNameParam(param string) bool {
	return param == "filename" || param == "name" || param == "file"
}
