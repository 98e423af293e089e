package sanitize

import (
	"bytes"
	"fmt"
	"html"
	"strings"

	"rastel/sanitize/eml"
)

// putHTML puts in what is not there yet. It is in ASCII, which almost any charset has in its place.
func (t *bannerTarget) putHTML(edits []eml.Edit) []eml.Edit {
	var at int
	coded := func(s string) []byte { return []byte(s) }
	if big, ok := isWide(t.head, t.code); ok {
		coded = func(s string) []byte { return wide(s, big) }
		at = len(coded("\ufeff")) * btoi(bytes.HasPrefix(t.head, coded("\ufeff")))
	} else {
		at = bodyStart(t.head)
	}
	for _, e := range edits { // not into what is replaced
		if e.Part == t.p && e.Region == eml.InContent && t.whole < 0 && e.Start < int64(at) && int64(at) < e.End {
			at = int(e.Start)
		}
	}
	there, end := t.there(at, func(s string) ([]byte, bool) { return coded(htmlBanner(s)), true })
	var text, told []byte
	for _, s := range t.texts {
		if !there[s] {
			text = append(text, coded(htmlBanner(s))...)
		}
	}
	for _, s := range t.told {
		told = append(told, coded(htmlBanner(s))...)
	}
	return t.insertBoth(edits, at, text, end, told)
}

// bannerStyle makes a banner be seen whatever the style sheets of the page say: a declaration in an
// attribute that is important wins over any in a style sheet (CSS Cascading, section 6.4).
const bannerStyle = `all:initial!important;display:block!important;visibility:visible!important;
opacity:1!important;position:static!important;float:none!important;
clear:both!important;width:auto!important;height:auto!important;
max-height:none!important;overflow:visible!important;transform:none!important;
clip-path:none!important;margin:0 0 12px 0!important;padding:6px 10px!important;
border:1px solid #b08000!important;background:#fff8dc!important;
color:#000000!important;font:14px/20px sans-serif!important;
text-align:left!important;text-indent:0!important`

// htmlBanner is a banner as HTML in ASCII, in lines that are not too long.
func htmlBanner(text string) string {
	var b strings.Builder
	b.WriteString("<div style=\"" + strings.ReplaceAll(bannerStyle, "\n", "\r\n") + "\">\r\n")
	for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		if i > 0 {
			b.WriteString("<br>\r\n")
		}
		b.WriteString(htmlLine(line))
	}
	b.WriteString("</div>\r\n")
	return b.String()
}

// htmlLine is a line of text as HTML in ASCII. It is divided at blanks, and elsewhere within a tag where
// there are none.
func htmlLine(line string) string {
	var b strings.Builder
	column, last := 0, ' '
	for _, r := range line {
		s := html.EscapeString(string(r))
		switch {
		case r == hardBlank:
			s = "&#32;"
		case r >= 0x7f, r == '+', r == '~', r == '\\', // which other charsets have instead
			r == '-' && (column == 0 || last == '-'): // two of them may begin a boundary
			s = fmt.Sprintf("&#%d;", r)
		}
		last = r
		column += len(s)
		switch {
		case column > noticeColumns && r == ' ':
			s, column = "\r\n", 0
		case column > noticeColumns && r >= 0x2e80, column > 2*noticeColumns:
			s, column = s+"<wbr\r\n>", 0
		}
		b.WriteString(s)
	}
	return b.String()
}
