package ole

import (
	"strings"

	"rastel/scanners/office"
)

// maxRTFText is how many characters of a text are read.
const maxRTFText = 1 << 10

// text looks at the text of the group that we are in, from an offset on: where a template is, or the code
// of a field (RTF 1.9.1, Fields).
func (d *richText) text(word string, at int64) {
	if d.tooMuch() {
		return
	}
	w := d.words(at)
	text := groupText(w)
	d.left -= w.at - at
	if word == "template" {
		if told, remote := office.PlaceOfTemplate(text); remote {
			d.report(office.RemoteTemplate, told)
		}
		return
	}
	if command, ok := office.DDECode(text); ok {
		d.report(office.DDE, "a field "+command)
	}
}

// groupText reads the text up to the end of the group, with that of the groups in it.
func groupText(w *words) string {
	var b strings.Builder
	for depth := 0; b.Len() < maxRTFText; {
		switch t := w.next(); {
		case t.kind == endOfText, t.kind == closeGroup && depth == 0:
			return b.String()
		case t.kind == openGroup:
			depth++
		case t.kind == closeGroup:
			depth--
		case t.kind == character && t.char != '\r' && t.char != '\n':
			b.WriteByte(t.char)
		case t.kind == controlWord && t.word == "u" && t.value > 0 && t.value < 0x80:
			b.WriteByte(byte(t.value)) // the character that stands for it is passed over by those who know better
		case t.kind == controlSymbol && t.char == '\'':
			b.WriteByte(byte(t.value))
		case t.kind == controlSymbol && strings.IndexByte(`\{}`, t.char) >= 0:
			b.WriteByte(t.char)
		}
	}
	return b.String()
}
