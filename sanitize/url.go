package sanitize

import (
	"bytes"
	"iter"
	"strings"
)

// schemes are those of URLs that run something, or reach what a mail has no business with: the
// recipient's files, programs and network. Schemes that begin with "ms-" are among them. They are
// dangerous in any attribute; what a client follows or loads must be one of safeSchemes besides.
var schemes = set(`javascript vbscript vbs livescript mocha jscript ecmascript
	file shell search search-ms res hcp its mk mhtml jar view-source blob filesystem about wyciwyg`)

// safeSchemes are those of URLs that mail may have (URI Schemes, IANA): of the web, of messages and
// calls, of places and appointments, and what senders of newsletters link to in telephones.
var safeSchemes = set(`http https ftp ftps sftp mailto tel sms smsto mms fax modem callto cid mid xmpp sip sips im pres
	news nntp snews irc ircs webcal webcals geo maps urn doi tag info acct matrix magnet openpgp4fpr web+ap
	whatsapp facetime facetime-audio skype viber tg signal sgnl line zoommtg msteams slack spotify itms itms-apps
	itms-appss market fb fb-messenger twitter instagram youtube vnd.youtube linkedin pinterest zoomus comgooglemaps waze upi bitcoin lightning
	x-apple-data-detectors x-msg blocked`)

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
	if plainURL(v) {
		return ""
	}
	scheme, known := (&urlReader{b: v}).scheme()
	if known {
		return ""
	}
	if schemes[scheme] || strings.HasPrefix(scheme, "data:") || strings.HasPrefix(scheme, "ms-") || scheme == `\\` {
		return scheme
	}
	return ""
}

// refusedURL tells the scheme by which a client must not follow or load a URL; empty if it may. An
// image may be SVG too, since clients run no script in it where they show it as an image.
func refusedURL(v []byte, image bool) string {
	if plainURL(v) {
		return ""
	}
	scheme, known := (&urlReader{b: v}).scheme()
	if known || image && scheme == "data:image/svg+xml" {
		return ""
	}
	return scheme
}

// refusedCandidates gives where those of the images of a srcset begin that a client must not load,
// from the start of the value.
func refusedCandidates(v []byte) []int {
	var out []int
	for i := range candidates(v) {
		if refusedURL(v[i:], true) != "" {
			out = append(out, i)
		}
	}
	return out
}

// candidates are where the images of a srcset (HTML, section 4.8.4.2.1) may begin, and what is between them.
func candidates(v []byte) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := 0; i < len(v); {
			n := bytes.IndexAny(v[i:], ", \t\r\n\f")
			if n < 0 {
				n = len(v) - i
			}
			if n > 0 && !yield(i) {
				return
			}
			i += n + 1
		}
	}
}

// anyRemote reports whether one of the images of a srcset is fetched from another host.
func anyRemote(v []byte) bool {
	for i := range candidates(v) {
		if isRemote(v[i:]) {
			return true
		}
	}
	return false
}

// plainURL reports whether a URL is one of the usual ones, which need no closer look.
func plainURL(v []byte) bool {
	if len(v) == 0 || v[0] == '#' || v[0] == '/' && (len(v) == 1 || v[1] != '\\' && v[1] != '&' && v[1] > ' ') {
		return true
	}
	return bytes.HasPrefix(v, []byte("http://")) || bytes.HasPrefix(v, []byte("https://")) || bytes.HasPrefix(v, []byte("mailto:"))
}

// scheme gives the scheme of a URL and whether it is one that mail may have; with the media type
// behind it if that is data. A URL without a scheme is known and has "".
func (u *urlReader) scheme() (scheme string, known bool) {
	var buf [maxURLHead]byte
	for {
		word, stop := u.word(buf[:0])
		switch {
		case len(word) == 0 && (stop == '\\' || stop == '/'):
			s := u.share(stop)
			return s, s == ""
		case stop != ':' || len(word) == 0 || !isLetter(word[0]):
			return "", true
		case safeSchemes[string(word)]:
			return string(word), true
		}
		switch scheme := string(word); scheme {
		case "feed", "url": // prefixes: "feed:javascript:"
			continue
		case "data":
			s := u.data()
			return s, s == ""
		case "about":
			rest, _ := u.word(buf[:0])
			return scheme, string(rest) == "blank"
		default:
			if strings.Contains(scheme, ".") && u.atDigit() {
				return "", true // the port of a host, by somebody who left out the scheme
			}
			return scheme, false
		}
	}
}

// atDigit reports whether the next character is a digit.
func (u *urlReader) atDigit() bool { return u.pos < len(u.b) && u.b[u.pos] >= '0' && u.b[u.pos] <= '9' }

// share tells whether what follows a backslash or slash makes a host in the Windows network, which
// is told the hash of the user's password without a click. Two slashes do not.
func (u *urlReader) share(first rune) string {
	if r := u.next(); r == '\\' || r == '/' && first == '\\' {
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
	if len(kind) == 0 && (stop == ',' || stop == ';') {
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

// isNetworkPath reports whether a URL begins with two slashes, of either kind. In a page that is opened
// from the disk that is a host in the Windows network (URL, section 4.4), which is told the hash of the
// user's password.
func isNetworkPath(v []byte) bool {
	if len(v) < 2 || v[0] > ' ' && v[0] != '/' && v[0] != '\\' && v[0] != '&' {
		return false
	}
	u := urlReader{b: v}
	first, second := u.next(), u.next()
	return isSlash(first) && isSlash(second)
}

// anyNetworkPath reports whether one of the images of a srcset begins so.
func anyNetworkPath(v []byte) bool {
	for at := range candidates(v) {
		if isNetworkPath(v[at:]) {
			return true
		}
	}
	return false
}

func isSlash(r rune) bool { return r == '/' || r == '\\' }

// isRemote reports whether a URL is one that is fetched from another host.
func isRemote(v []byte) bool {
	if bytes.HasPrefix(v, []byte("http")) || len(v) > 0 && v[0] <= ' ' || len(v) > 0 && (v[0] == '&' || v[0]|0x20 == 'h' || v[0]|0x20 == 'f') {
		switch scheme, _ := (&urlReader{b: v}).scheme(); scheme {
		case "http", "https", "ftp", "ftps":
			return true
		}
	}
	if len(v) < 2 || v[0] != '/' && v[0] > ' ' && v[0] != '&' {
		return false
	}
	u := urlReader{b: v}
	first, second := u.next(), u.next()
	return first == '/' && second == '/'
}
