package sanitize

import (
	"bytes"
	"errors"
	"fmt"
	"html"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/unicode/norm"

	"rastel/sanitize/eml"
)

// Limits of banners.
const (
	maxBannerText    = 4000      // bytes of one text
	maxBannerRewrite = 1 << 20   // bytes of a text part that is converted for the sake of a banner
	maxBannerHead    = 256 << 10 // bytes of a page in which the beginning of its body is looked for
)

// A Banner is a short text at the top of what the reader of a message sees.
type Banner struct {
	Text      string      // as it is, in lines that end in "\n"; empty if there is a name
	Name      string      // of a banner of the texts
	Languages []string    // of the text with that name; none means the default
	Keep      []*eml.Part // what is not to be changed, with all that is in it
	Others    []string    // texts of other banners that may be there already
}

// bannerTexts are the texts of a banner, one for each language.
func (n *Notices) bannerTexts(b *Banner) []string {
	if b.Name == "" {
		return []string{b.Text}
	}
	var texts []string
	for _, tag := range n.in(b.Languages) {
		if t := n.banner(tag, b.Name); t != "" && !slices.Contains(texts, t) {
			texts = append(texts, t)
		}
	}
	return texts
}

// knownBanners are all texts that may stand at the top of a message already: another rule may have
// put them there when the message came the first time.
func (n *Notices) knownBanners(list []Banner) []string {
	var out []string
	for _, l := range n.languages {
		for _, text := range l.banners {
			out = append(out, text)
		}
	}
	slices.Sort(out)
	for _, b := range list {
		out = append(append(out, b.Text), b.Others...)
	}
	for _, s := range out {
		if plain := asASCII(s); plain != s {
			out = append(out, plain)
		}
	}
	return slices.DeleteFunc(out, func(s string) bool { return s == "" })
}

// PutBanners puts banners at the top of the text of a message, in that order: into all alternatives
// of its first text, as text or as HTML. It gives all edits that are to be made: the ones it was
// given, and its own. A banner that is there already is not put in again. All other bytes stay as
// they are, except where a text cannot express the banner in its charset: that one becomes UTF-8.
func (n *Notices) PutBanners(root *eml.Part, list []Banner, edits []eml.Edit) ([]eml.Edit, error) {
	known := n.knownBanners(list)
	for _, p := range bannerParts(root) {
		t := &bannerTarget{p: p, known: known}
		for i := range list {
			if b := &list[i]; !isKept(p, b.Keep) {
				t.add(n, b)
			}
		}
		if err := t.look(edits); err != nil {
			return nil, fmt.Errorf("banner in part %s: %w", p.ID, err)
		}
		more, err := t.put(edits)
		if err != nil {
			return nil, fmt.Errorf("banner in part %s: %w", p.ID, err)
		}
		edits = more
	}
	return edits, nil
}

// bannerParts are the texts that a reader sees first: of several alternatives all, of other parts
// the first that has a text.
func bannerParts(p *eml.Part) []*eml.Part {
	if p.Leaf() {
		shown := p.MediaType == "text/plain" || p.MediaType == "text/html" || p.MediaType == "application/xhtml+xml"
		if !shown || p.Disposition == "attachment" {
			return nil
		}
		return []*eml.Part{p}
	}
	if !strings.HasPrefix(p.MediaType, "multipart/") {
		return nil // a message within the message
	}
	var out []*eml.Part
	for _, c := range p.Children {
		if c.Member() || c.Reading != "" {
			continue
		}
		out = append(out, bannerParts(c)...)
		if len(out) > 0 && p.MediaType != "multipart/alternative" {
			break
		}
	}
	return out
}

// isKept reports whether a part is one of the list or lies in one.
func isKept(p *eml.Part, list []*eml.Part) bool {
	for ; p != nil; p = p.Parent {
		if slices.Contains(list, p) {
			return true
		}
	}
	return false
}

// A bannerTarget is a part that banners are put into.
type bannerTarget struct {
	p     *eml.Part
	texts []string // of the banners
	plain []string // the same for a part that can only express ASCII
	known []string // what may be there already
	html  bool
	whole int  // of the edits, the one that replaces all of the content; -1 if there is none
	anew  int  // of the edits, the one that writes the part anew; -1 if there is none
	typed bool // an edit changes the type of the part, or how it is encoded
	head  []byte
	code  string // the charset
}

// add adds the texts of a banner.
func (t *bannerTarget) add(n *Notices, b *Banner) {
	for _, text := range n.bannerTexts(b) {
		t.texts = append(t.texts, text)
		if b.Name != "" {
			text = n.banner(defaultLanguage, b.Name)
		}
		t.plain = append(t.plain, asASCII(text))
	}
}

// maxBanners is how many banners that are there already are looked at.
const maxBanners = 20

// there gives the banners that stand at a place of t.head, one behind the other, in that form.
func (t *bannerTarget) there(at int, form func(string) ([]byte, bool)) map[string]bool {
	out := map[string]bool{}
next:
	for range maxBanners {
		for _, s := range slices.Concat(t.texts, t.known) {
			if b, ok := form(s); ok && bytes.HasPrefix(t.head[at:], b) {
				out[s] = true
				at += len(b)
				continue next
			}
		}
		break
	}
	return out
}

// look finds out what the part will be after the edits.
func (t *bannerTarget) look(edits []eml.Edit) error {
	t.whole, t.anew, t.html, t.code = -1, -1, t.p.MediaType != "text/plain", t.p.Charset()
	for i, e := range edits {
		switch {
		case e.Part != t.p:
		case e.Region == eml.InHeader:
			t.retyped(e.Text)
		case e.Region == eml.InBody && e.Write != nil:
			t.anew = i
		case e.Region == eml.InBody:
			return fmt.Errorf("its body is replaced already")
		case e.Start == 0 && (e.End == -1 || e.End == t.p.Size) && t.p.Size > 0:
			t.whole = i
		}
	}
	if t.whole >= 0 {
		t.head = edits[t.whole].Text
	} else {
		t.head = t.p.Head(maxBannerHead)
	}
	return nil
}

// retyped takes note of fields that an edit gives the part.
func (t *bannerTarget) retyped(fields []byte) {
	unfolded := strings.NewReplacer("\r\n ", " ", "\r\n\t", " ").Replace(string(fields))
	for line := range strings.SplitSeq(unfolded, "\r\n") {
		name, value, _ := strings.Cut(line, ":")
		value = strings.ToLower(strings.TrimSpace(value))
		switch strings.ToLower(name) {
		case "content-type":
			t.typed = true
			t.html = !strings.HasPrefix(value, "text/plain")
			if c := charsetOf(value); c != "" {
				t.code = c
			}
		case "content-transfer-encoding":
			t.typed = true
		}
	}
}

// put makes the edits of one part.
func (t *bannerTarget) put(edits []eml.Edit) ([]eml.Edit, error) {
	if len(t.texts) == 0 {
		return edits, nil
	}
	if t.anew >= 0 {
		return t.putAnew(edits)
	}
	if t.html {
		return t.putHTML(edits), nil
	}
	return t.putText(edits)
}

// putAnew puts the banners into what is written anew, unless it begins with them.
func (t *bannerTarget) putAnew(edits []eml.Edit) ([]eml.Edit, error) {
	prefix, err := bodyPrefix(t.p)
	if err != nil {
		return nil, err
	}
	begin := func(top string) func(io.Writer) error { return textWriter(t.p, top) }
	if t.html {
		begin = func(top string) func(io.Writer) error { write, _ := cleanWriter(t.p, top); return write }
	}
	head := &headWriter{limit: maxBannerHead}
	if err := begin("")(head); err != nil && !errors.Is(err, errHead) {
		return nil, err
	}
	top, seen := "", string(head.b)
	if t.html {
		_, seen, _ = strings.Cut(seen, "<body")
		_, seen, _ = strings.Cut(seen, ">") // in values it is escaped
	}
	form := cleanBanner
	if !t.html {
		form = func(s string) string { return strings.TrimSuffix(wrappedText(s), "\n") + "\n\n" }
	}
	t.head = []byte(seen)
	there := t.there(0, func(s string) ([]byte, bool) { return []byte(form(s)), true })
	for _, s := range t.texts {
		if !there[s] {
			top += form(s)
		}
	}
	edits = slices.Clone(edits)
	edits[t.anew].Write = inQP(prefix, begin(top))
	return edits, nil
}

// cleanBanner is the clean form of a banner as HTML.
func cleanBanner(s string) string {
	var b strings.Builder
	_ = writeClean(&b, strings.NewReader(htmlBanner(s)), nil, "utf-8", "") // neither of them fails
	_, out, _ := strings.Cut(b.String(), "<body>")
	return strings.TrimSuffix(out, "</body></html>\n")
}

// errHead ends what writes to a headWriter.
var errHead = errors.New("enough")

// A headWriter keeps the beginning of what is written to it.
type headWriter struct {
	b     []byte
	limit int
}

func (h *headWriter) Write(p []byte) (int, error) {
	h.b = append(h.b, p[:min(len(p), h.limit-len(h.b))]...)
	if len(h.b) == h.limit {
		return 0, errHead
	}
	return len(p), nil
}

// insert puts bytes into the content, at a place in t.head.
func (t *bannerTarget) insert(edits []eml.Edit, at int, text []byte) []eml.Edit {
	if len(text) == 0 {
		return edits
	}
	if t.whole >= 0 {
		edits = slices.Clone(edits)
		edits[t.whole].Text = slices.Concat(t.head[:at], text, t.head[at:])
		return edits
	}
	return append(edits, eml.Edit{Part: t.p, Region: eml.InContent, Start: int64(at), End: int64(at), Text: text})
}

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
	there := t.there(at, func(s string) ([]byte, bool) { return coded(htmlBanner(s)), true })
	var text []byte
	for _, s := range t.texts {
		if !there[s] {
			text = append(text, coded(htmlBanner(s))...)
		}
	}
	return t.insert(edits, at, text)
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// isWide reports whether a text is in UTF-16, and whether its bytes are in the order of the network.
func isWide(b []byte, charset string) (big, ok bool) {
	switch {
	case bytes.HasPrefix(b, []byte("\xff\xfe")), bytes.HasPrefix(b, []byte("<\x00")):
		return false, true
	case bytes.HasPrefix(b, []byte("\xfe\xff")), bytes.HasPrefix(b, []byte("\x00<")):
		return true, true
	case strings.HasPrefix(charset, "utf-16be"), charset == "unicodefffe":
		return true, true
	case isUTF16(charset):
		zeros := 0 // the first bytes of ASCII
		for i := 0; i+1 < min(len(b), 200); i += 2 {
			if b[i] == 0 {
				zeros++
			} else if b[i+1] == 0 {
				zeros--
			}
		}
		return zeros > 0, true
	}
	return false, false
}

func wide(s string, big bool) []byte {
	var b []byte
	for _, r := range s {
		if r > 0xffff {
			r = unicode.ReplacementChar
		}
		if big {
			b = append(b, byte(r>>8), byte(r))
		} else {
			b = append(b, byte(r), byte(r>>8))
		}
	}
	return b
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
	column := 0
	for _, r := range line {
		s := html.EscapeString(string(r))
		if r >= 0x7f || r == '+' || r == '~' || r == '\\' { // which other charsets have instead
			s = fmt.Sprintf("&#%d;", r)
		}
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

// bodyStart is where the body of a page begins that a browser shows: behind the tag that opens it, or
// before the first thing that opens it by itself (HTML, section 13.2.6.4). It goes through what may
// stand in a head; where anything there may be read in two ways it goes no further, so that what is
// put in there is no comment and no part of a style sheet.
func bodyStart(b []byte) int {
	i := 0
	if bytes.HasPrefix(b, []byte("\xef\xbb\xbf")) {
		i = 3
	}
	start, r := i, &tagReader{b: b}
	for {
		j := i
		for j < len(b) && isBlank(b[j]) {
			j++
		}
		next, open := headItem(r, b, j, j == start)
		if next < 0 {
			return safePlace(b, i, start)
		}
		if i = next; open {
			return safePlace(b, i, start)
		}
	}
}

// safePlace is the place i, or the start if some bytes before it are not in ASCII (ISO-2022, UTF-7):
// who knows in which state a client is there.
func safePlace(b []byte, i, start int) int {
	if bytes.IndexByte(b[:i], 0x1b) >= 0 {
		return start
	}
	return i
}

// headItem gives the byte behind what stands at byte j of a page, if it is one of what a page has
// before its body; -1 if it is not. It reports whether the body begins behind it.
func headItem(r *tagReader, b []byte, j int, first bool) (next int, open bool) {
	rest := b[min(j, len(b)):]
	switch {
	case bytes.HasPrefix(rest, []byte("<!--")):
		return j + commentEnd(rest), false
	case hasPrefixFold(rest, "<!doctype"), first && hasPrefixFold(rest, "<?xml "):
		n := bytes.IndexByte(rest, '>')
		if n < 0 || bytes.ContainsAny(rest[1:n], "[<") {
			return -1, false
		}
		return j + n + 1, false
	case hasPrefixFold(rest, "</head>"):
		return j + len("</head>"), false
	case len(rest) < 2 || rest[0] != '<' || !isLetter(rest[1]) || !r.read(j+1):
		return -1, false
	}
	switch name := strings.ToLower(string(b[r.tag.name.start:r.tag.name.end])); name {
	case "html", "head", "meta", "base", "link", "defanged_meta", "defanged_base", "defanged_link":
		return r.tag.end, false
	case "body":
		return r.tag.end, true
	case "title", "style":
		return rawEnd(b, r.tag.end, name), false
	}
	return -1, false
}

// commentEnd is how long a comment is that all browsers end at the same place; so small that its sum
// with any offset is negative if there is none.
func commentEnd(b []byte) int {
	const none = -1 << 40
	n := bytes.Index(b[4:], []byte("-->"))
	text := b[4:max(4, 4+n)]
	if n < 0 || bytes.HasPrefix(text, []byte(">")) || bytes.HasPrefix(b[4:], []byte("->")) || bytes.Contains(text, []byte("--!>")) || bytes.Contains(text, []byte("<!--")) {
		return none
	}
	return 4 + n + 3
}

// rawEnd is the byte behind the tag that closes an element whose content is no markup; -1 if there is
// none.
func rawEnd(b []byte, i int, name string) int {
	n := indexFold(b[i:], "</"+name)
	if n < 0 {
		return -1
	}
	i += n + len("</") + len(name)
	for i < len(b) && isBlank(b[i]) {
		i++
	}
	if i == len(b) || b[i] != '>' {
		return -1
	}
	return i + 1
}

// putText puts the banners at the beginning of a text, in its charset if that has all their
// characters.
func (t *bannerTarget) putText(edits []eml.Edit) ([]eml.Edit, error) {
	at, missing, plain := t.missing()
	if missing == "" {
		return edits, nil
	}
	coded, ok := encodeCharset(t.code, t.head, missing)
	if ok && (isASCII(coded) || t.holds8bit()) {
		return t.insert(edits, at, coded), nil
	}
	if more, ok, err := t.rewrite(edits, missing); ok || err != nil {
		return more, err
	}
	coded, _ = encodeCharset(t.code, t.head, plain)
	return t.insert(edits, at, coded), nil
}

// missing gives the banners that the text does not begin with, as they are and in ASCII, and where it
// begins. One that could only be put in in ASCII is not missing.
func (t *bannerTarget) missing() (at int, missing, plain string) {
	if mark, _ := encodeCharset(t.code, t.head, "\ufeff"); len(mark) > 1 && bytes.HasPrefix(t.head, mark) {
		at = len(mark)
	}
	there := t.there(at, func(s string) ([]byte, bool) { return encodeCharset(t.code, t.head, textBanner(s)) })
	for i, s := range t.texts {
		if !there[s] && !there[t.plain[i]] {
			missing += textBanner(s)
			plain += textBanner(t.plain[i])
		}
	}
	return at, missing, plain
}

// textBanner is a banner as it stands in a text.
func textBanner(s string) string {
	return strings.ReplaceAll(strings.TrimSuffix(wrappedText(s), "\n"), "\n", "\r\n") + "\r\n\r\n"
}

// holds8bit reports whether bytes that are not ASCII can stand in the body as it is encoded.
func (t *bannerTarget) holds8bit() bool {
	if t.p.Encoding != eml.Identity {
		return true
	}
	v := strings.ToLower(strings.TrimSpace(t.p.Header.Get("Content-Transfer-Encoding")))
	return v == "8bit" || v == "binary"
}

// encodeCharset gives text in a charset; false if that has not all of its characters, or is not known.
// A text without a charset is US-ASCII.
func encodeCharset(charset string, b []byte, s string) ([]byte, bool) {
	if big, ok := isWide(b, charset); ok {
		return wide(s, big), true
	}
	switch charset {
	case "", "us-ascii", "ascii":
		return []byte(s), isASCII([]byte(s))
	case "utf-8", "utf8":
		return []byte(s), true
	}
	e := encodingOf(charset)
	if e == nil || unreadable(charset) {
		return []byte(s), isASCII([]byte(s)) // most have it
	}
	out, err := e.NewEncoder().Bytes([]byte(s))
	return out, err == nil
}

// encodingOf is a charset by one of its names; nil if it is not known.
func encodingOf(charset string) encoding.Encoding {
	if e, err := ianaindex.MIME.Encoding(charset); err == nil && e != nil {
		return e
	}
	e, err := htmlindex.Get(charset)
	if err != nil {
		return nil
	}
	return e
}

func isASCII(b []byte) bool { return countASCII(b) == len(b) }

// asASCII is a text without what ASCII does not have.
func asASCII(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.Is(unicode.Mn, r):
			return -1
		case r >= 0x7f:
			return '?'
		}
		return r
	}, norm.NFKD.String(s))
}

// rewrite makes the part UTF-8, with the banners at its beginning and all other edits carried out. It
// reports false where that is not possible: the part is large, its charset is not known, or its
// fields are to be changed otherwise.
func (t *bannerTarget) rewrite(edits []eml.Edit, text string) ([]eml.Edit, bool, error) {
	if t.p.Size > maxBannerRewrite || t.typed || t.p.Header.Count("Content-Type") > 1 || t.p.Header.Count("Content-Transfer-Encoding") > 1 || hasName(t.p.Params) {
		return nil, false, nil
	}
	raw, err := t.edited(edits)
	if err != nil || raw == nil {
		return nil, false, err
	}
	utf8, ok := decodeCharset(t.code, raw)
	if !ok {
		return nil, false, nil
	}
	c := encodeUTF8([]byte(text + utf8))
	edits = slices.DeleteFunc(slices.Clone(edits), func(e eml.Edit) bool { return e.Part == t.p && e.Region == eml.InContent })
	edits = append(edits, eml.Edit{Part: t.p, Region: eml.InBody, Start: 0, End: -1, Text: c.body})
	return append(edits, t.utf8Fields(c.fields)...), true, nil
}

// edited is the content with the edits that are to be made; nil if they overlap.
func (t *bannerTarget) edited(edits []eml.Edit) ([]byte, error) {
	raw, err := io.ReadAll(t.p.Content())
	if err != nil {
		return nil, fmt.Errorf("read text: %w", err)
	}
	var mine []eml.Edit
	for _, e := range edits {
		if e.Part == t.p && e.Region == eml.InContent {
			if e.End == -1 {
				e.End = int64(len(raw))
			}
			mine = append(mine, e)
		}
	}
	slices.SortStableFunc(mine, func(a, b eml.Edit) int { return int(a.Start - b.Start) })
	out, at := []byte{}, int64(0)
	for i, e := range mine {
		if i > 0 && e.Start == mine[i-1].Start && e.End == mine[i-1].End && bytes.Equal(e.Text, mine[i-1].Text) {
			continue
		}
		if e.Start < at || e.End < e.Start || e.End > int64(len(raw)) {
			return nil, nil
		}
		out = append(append(out, raw[at:e.Start]...), e.Text...)
		at = e.End
	}
	return append(out, raw[at:]...), nil
}

// decodeCharset gives text as UTF-8, if that loses nothing.
func decodeCharset(charset string, raw []byte) (string, bool) {
	if _, ok := isWide(raw, charset); ok || unreadable(charset) {
		return "", false
	}
	switch charset {
	case "", "us-ascii", "ascii", "utf-8", "utf8":
		return string(raw), bytes.Equal(bytes.ToValidUTF8(raw, nil), raw)
	}
	e := encodingOf(charset)
	if e == nil {
		return "", false
	}
	out, err := e.NewDecoder().Bytes(raw)
	return string(out), err == nil && !bytes.ContainsRune(out, unicode.ReplacementChar)
}

// encodeUTF8 encodes text whose lines end as they may.
func encodeUTF8(raw []byte) content {
	if countASCII(raw) < len(raw)/2 {
		return content{[]byte("base64"), base64Lines(raw)}
	}
	return content{[]byte("quoted-printable"), quotedPrintable(raw)}
}

// utf8Fields are the edits of the fields that say how the text is encoded.
func (t *bannerTarget) utf8Fields(encoding []byte) []eml.Edit {
	p, h := t.p, &t.p.Header
	kind := []byte("Content-Type: text/plain")
	params := maps.Clone(p.Params)
	if params == nil {
		params = map[string]string{}
	}
	params["charset"] = "utf-8"
	for _, k := range slices.Sorted(maps.Keys(params)) {
		if v := params[k]; isToken(k) && len(v) <= maxParam {
			kind = appendParam(kind, k, v)
		}
	}
	kind = append(kind, "\r\n"...)
	transfer := []byte("Content-Transfer-Encoding: " + string(encoding) + "\r\n")
	var edits []eml.Edit
	var added []byte
	if p.Parent == nil && h.Count("MIME-Version") == 0 {
		added = []byte("MIME-Version: 1.0\r\n")
	}
	for _, f := range []struct {
		name string
		text []byte
	}{{"Content-Type", kind}, {"Content-Transfer-Encoding", transfer}} {
		if fields := slices.Collect(h.All(f.name)); len(fields) > 0 {
			edits = replaceFields(edits, p, fields, f.text)
		} else {
			added = append(added, f.text...)
		}
	}
	if len(added) > 0 {
		end := int64(len(h.Bytes()))
		edits = append(edits, eml.Edit{Part: p, Region: eml.InHeader, Start: end, End: end, Text: added})
	}
	return edits
}
