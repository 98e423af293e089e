package sanitize

// A byteKind is a set of what a byte is to those who write a page anew. They look at what they copy
// once, and closer only if there is something in it.
type byteKind uint16

const (
	byteAmp      byteKind = 1 << iota // "&": a character reference may begin
	byteOdd                           // NUL or CR, which a parser changes
	byteMarkup                        // markup, a control, or none of ASCII: not copied as it is
	byteQuote                         // '"', which is not within quotes
	byteUnplain                       // blanks, controls, or none of ASCII, in a URL
	byteBack                          // a backslash
	byteColon                         // ":"
	byteUpper                         // a capital letter
	byteTagName                       // none that ends the name of a tag
	byteAttrKey                       // nor that of an attribute
	byteName                          // of names of CSS, in ASCII
	byteCSS                           // is written in a value as it is, whatever is around it
	byteBlank                         // ASCII white space
	byteWord                          // of words of text, whatever is around it
	byteQP                            // stands for itself in quoted-printable
	byteSelector                      // as byteCSS, in what is before a block
)

// kindsNotKnown are those of bytes that nobody looked at.
const kindsNotKnown = ^byteKind(0)

var byteKinds = newByteKinds()

func newByteKinds() (kinds [256]byteKind) {
	for i := range kinds {
		c := byte(i)
		when := func(is bool, kind byteKind) {
			if is {
				kinds[c] |= kind
			}
		}
		control := c < ' ' || c >= 0x7f
		name := isLetter(c) || isDigit(c) || c == '-' || c == '_'
		end := isBlank(c) || c == '/' || c == '>'
		when(c == '&', byteAmp)
		when(c == 0 || c == '\r', byteOdd)
		when(c == '&' || c == '<' || c == '>' || control && !isBlank(c) || c == '\f', byteMarkup)
		when(c == '"', byteQuote)
		when(c == ' ' || control, byteUnplain)
		when(c == '\\', byteBack)
		when(c == ':', byteColon)
		when(c >= 'A' && c <= 'Z', byteUpper)
		when(!end, byteTagName)
		when(!end && c != '=', byteAttrKey)
		when(name, byteName)
		when(name && c != '-' || c == '.' || c == ',' || c == '%' || c == '!', byteCSS)
		when(isBlank(c), byteBlank)
		when(c > ' ' && c < 0x7f && c != '<', byteWord)
		when(c >= ' ' && c < 0x7f && c != '=' && c != '-' || c == '\t', byteQP)
		when(name && c != '-' || c == '.' || c == ',' || c == '%' || c == ':' || c == '>' || c == '*' || c == '+' || c == '~', byteSelector)
	}
	return kinds
}

// kindsOf are the kinds of all bytes of b.
func kindsOf(b []byte) byteKind {
	var k byteKind
	for _, c := range b {
		k |= byteKinds[c]
	}
	return k
}

// lower makes letters of ASCII small, in place.
func lower(b []byte) {
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c | 0x20
		}
	}
}
