package sanitize

import "strings"

// schemes are those of URLs that run something, or reach what a mail has no business with: the
// recipient's files, programs and network. Schemes that begin with "ms-" are among them.
var schemes = set(`javascript vbscript vbs livescript mocha jscript ecmascript
	file shell search search-ms res hcp its mk mhtml jar view-source blob filesystem about wyciwyg`)

// dataTypes are the media types that a data: URL (RFC 2397) may have: those that a browser shows
// and does not run. SVG is none of them.
var dataTypes = set(`image/png image/jpeg image/jpg image/pjpeg image/gif image/webp image/bmp image/x-ms-bmp image/avif image/heic
	image/tiff image/apng image/x-icon image/vnd.microsoft.icon image/x-png text/plain
	font/woff font/woff2 font/ttf font/otf application/font-woff application/font-woff2 application/x-font-woff
	application/x-font-ttf application/x-font-opentype application/vnd.ms-fontobject`)

// maxURLHead is how many characters of a URL are looked at: a scheme, or a media type.
const maxURLHead = 64

// dangerousURL tells the scheme by which a URL is dangerous; empty if it is not. The value is as
// it stands in HTML. Browsers drop control characters and line breaks in it before they look
// for the scheme (URL, section 4.4), and decode character references before that.
func dangerousURL(v []byte) string {
	if len(v) == 0 || v[0] == '#' || v[0] == '/' {
		return ""
	}
	var buf [maxURLHead]byte
	u := urlReader{b: v}
	for {
		word, stop := u.word(buf[:0])
		scheme := string(word)
		switch {
		case scheme == "" && stop == '\\':
			return u.share()
		case stop != ':':
			return ""
		case scheme == "feed": // a prefix: "feed:javascript:"
			continue
		case scheme == "data":
			return u.data()
		case scheme == "about":
			if rest, _ := u.word(buf[:0]); string(rest) == "blank" {
				return ""
			}
			return scheme
		case schemes[scheme] || strings.HasPrefix(scheme, "ms-"):
			return scheme
		}
		return ""
	}
}

// share tells whether what follows a backslash makes a host in the Windows network, which is
// told the hash of the user's password without a click.
func (u *urlReader) share() string {
	if r := u.next(); r == '\\' || r == '/' {
		return `\\`
	}
	return ""
}

// A urlReader gives the characters of a URL that a browser looks at.
type urlReader struct {
	b   []byte
	pos int
}

// next gives the next character in lower case; 0 at the end.
func (u *urlReader) next() rune {
	for u.pos < len(u.b) {
		r, n := rune(u.b[u.pos]), 1
		if r == '&' {
			r, n = decodeEntity(u.b[u.pos:])
		}
		u.pos += n
		if r > ' ' && r != 0x7f && r != '`' && r != 0xfffd { // Internet Explorer quotes with backticks
			if r >= 'A' && r <= 'Z' {
				r |= 0x20
			}
			return r
		}
	}
	return 0
}

// word appends to buf the characters that a scheme may have (RFC 3986 section 3.1), and gives the
// one that ended it.
func (u *urlReader) word(buf []byte) ([]byte, rune) {
	for {
		r := u.next()
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '+' && r != '.' || len(buf) == cap(buf) {
			return buf, r
		}
		buf = append(buf, byte(r))
	}
}

// data tells whether the rest of a data: URL is of a type that a browser may run.
func (u *urlReader) data() string {
	var buf [maxURLHead]byte
	kind, stop := u.word(buf[:0])
	if len(kind) == 0 && stop == ',' {
		return "" // text/plain by default
	}
	if stop == '/' && len(kind) < cap(kind) {
		kind, stop = u.word(append(kind, '/'))
	}
	if (stop == ';' || stop == ',') && dataTypes[string(kind)] {
		return ""
	}
	return "data:" + string(kind)
}
