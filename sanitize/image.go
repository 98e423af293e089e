package sanitize

import "bytes"

// An image is what the attributes of one tag say about the images that it shows.
type image struct {
	img     bool      // it is an element that shows one, and no more
	shown   bool      // a client knows the element
	sources []int     // where the names of attributes begin that have an image fetched
	tiny    int       // how many of width and height are no more than bugSize
	hidden  bool      // it is not shown
	tracker bool      // its URL is one of those by which senders know that mail is read
	links   htmlCheck // what it is a link to if that is remote; 0 if nothing is loaded
	link    attr      // where that is
}

// bugSize is the side of an image in pixels up to which nobody sees it.
const bugSize = 2

// trackers are in the URLs of the images by which the large senders know that mail is read.
var trackers = [][]byte{
	[]byte("/wf/open"), []byte("/track/open"), []byte("/open.aspx"), []byte("/open.php"), []byte("/o.gif"), []byte("/pixel.gif"),
	[]byte("/pixel.png"), []byte("/beacon"), []byte("/e2t/o/"), []byte("/trk?t="), []byte("/q/open"), []byte("/mail/open"), []byte("/email/open"),
}

// reset prepares for the next tag.
func (m *image) reset(e *element) {
	*m = image{img: e.img, shown: e.safe, sources: m.sources[:0]}
}

// source notes an attribute, whose name begins at byte at, that has an image fetched from a URL.
func (m *image) source(at int, url []byte) {
	if m.shown && isRemote(url) {
		m.add(at, url)
	}
}

// add notes an attribute whose value is remote.
func (m *image) add(at int, url []byte) {
	m.sources = append(m.sources, at)
	for _, t := range trackers {
		m.tracker = m.tracker || bytes.Contains(url, t)
	}
}

// note looks at an attribute that says how the image is shown.
func (m *image) note(name, value []byte) {
	if m.img && (string(name) == "width" || string(name) == "height") && isTiny(value) {
		m.tiny++
	}
}

// noteStyle looks at the style of the element.
func (m *image) noteStyle(css []byte) {
	if !m.img || len(css) > maxBugStyle {
		return
	}
	for d := range bytes.SplitSeq(css, []byte(";")) {
		name, value, _ := bytes.Cut(d, []byte(":"))
		value = trimBlank(value)
		switch string(bytes.ToLower(trimBlank(name))) {
		case "width", "height", "max-width", "max-height":
			if isTiny(value) {
				m.tiny++
			}
		case "display":
			m.hidden = m.hidden || hasPrefixFold(value, "none")
		case "visibility":
			m.hidden = m.hidden || hasPrefixFold(value, "hidden")
		}
	}
}

// maxBugStyle is the longest style in which the size of an image is looked for.
const maxBugStyle = 2000

// isTiny reports whether a length is one that nobody sees.
func isTiny(v []byte) bool {
	v = trimBlank(v)
	n := 0
	for n < len(v) && v[n] >= '0' && v[n] <= '9' {
		n++
	}
	if n != 1 || v[0]-'0' > bugSize {
		return false
	}
	rest := trimBlank(v[1:])
	return len(rest) == 0 || v[0] == '0' && rest[0] != '.' || hasPrefixFold(rest, "px")
}

// images marks the images of the tag that was read last, and what it is a link to.
func (p *page) images() {
	m := &p.image
	for _, at := range m.sources {
		p.mark(checkRemoteImage, at)
		if m.img && (m.tiny >= 2 || m.hidden || m.tracker) {
			p.mark(checkWebBug, at)
		}
	}
	if m.links != 0 && m.link.value.len() > 0 && isRemote(p.b[m.link.value.start:m.link.value.end]) {
		p.markName(m.links, m.link)
	}
}
