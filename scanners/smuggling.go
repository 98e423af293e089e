package scanners

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"rastel/sanitize/eml"
)

// Smuggling finds pages that make a file of their own content when they are opened (HTML smuggling):
// the file is in a script, in base64 or as numbers, so that nothing that looks for files sees it. What
// is written there plainly is decoded and examined like a member of an archive.
type Smuggling struct{}

// smuggling is the check. It is of the area of what is active, but cannot be defanged: with the
// script gone the page is of no use to anybody.
const smuggling = "html/smuggling"

// Checks are all checks that Expand may report.
func (Smuggling) Checks() []eml.Check {
	return []eml.Check{{ID: smuggling, Doc: "A page makes a file of its own content and has the reader save or open it, or writes itself anew from encoded text (HTML smuggling). Hardly any innocent page in mail does; treat it as malware."}}
}

// Scan finds nothing: all that is to be said is said by Expand.
func (Smuggling) Scan(context.Context, *eml.Part) ([]eml.Finding, error) { return nil, nil }

// Expand yields what is encoded in the scripts and data: URLs of p.
func (Smuggling) Expand(ctx context.Context, p *eml.Part, b *Budget, yield func(*eml.Part) error) ([]eml.Finding, error) {
	if !mayRunScripts(p) {
		return nil, nil
	}
	s := &smuggler{hidden: hidden{ctx: ctx, p: p, b: b, yield: yield}}
	if err := s.look(aScript, aData); err != nil {
		return nil, fmt.Errorf("read page: %w", err)
	}
	if !s.words[aScript] && !s.words[aData] && !strings.Contains(p.MediaType, "script") {
		return nil, nil
	}
	if err := s.look(aBlob, anObjectURL, aSaver, aDecoder, aDownload, aWriter); err != nil {
		return nil, fmt.Errorf("read page: %w", err)
	}
	err := s.literals()
	if why := s.why(); why != "" {
		s.findings = append(s.findings, eml.Finding{Check: smuggling, Part: p, Detail: why})
	}
	if s.over {
		s.findings = append(s.findings, eml.Finding{Check: smuggling, Part: p, Detail: fmt.Sprintf("more than %d encoded texts", maxCarved), Unexamined: true})
	}
	return s.findings, err
}

// mayRunScripts reports whether some client runs scripts in the part.
func mayRunScripts(p *eml.Part) bool {
	if !p.Leaf() || p.Size < minLiteral {
		return false
	}
	if p.MediaType == "text/plain" && len(p.Names) == 0 && !bytes.HasPrefix(bytes.TrimLeft(dropZeros(p.Head(64)), " \t\r\n\xef\xbb\xbf\xff\xfe"), []byte("<")) {
		return false // it is shown as it is
	}
	if p.Type == "html" || p.Type == "svg" || p.MediaType == "text/html" || strings.HasSuffix(p.MediaType, "xml") || strings.Contains(p.MediaType, "javascript") || strings.Contains(p.MediaType, "ecmascript") {
		return true
	}
	if !p.Is("text") && p.Type != "data" {
		return false
	}
	for _, n := range p.Names {
		n = strings.ToLower(strings.TrimRight(n, ". "))
		if i := strings.LastIndexByte(n, '.'); i >= 0 && scriptExtensions[n[i+1:]] {
			return true
		}
	}
	return false
}

var scriptExtensions = map[string]bool{"htm": true, "html": true, "shtml": true, "xhtml": true, "xht": true, "svg": true, "hta": true, "js": true, "mjs": true, "jse": true, "xml": true, "xsl": true, "wsf": true, "mht": true, "mhtml": true}

const (
	// minLiteral is how many bytes an encoded text must stand for, or how many characters one in
	// base64 must have, before it is decoded.
	minLiteral = 256
	// minPayload is how many bytes of a text make a page that decodes it suspicious.
	minPayload = 1 << 10
	// maxCarved is how many of them are decoded in one part.
	maxCarved = 200
)

// A smuggler looks at one page.
type smuggler struct {
	hidden
	words  [len(scriptWords)]bool
	r      *bufio.Reader
	recent []byte // what was read last
	most   int64  // bytes of the largest text that is decoded
	data   int64  // the same, of those in data: URLs
	over   bool
}

// A scriptWord is something that is looked for in a script.
type scriptWord int

const (
	aScript scriptWord = iota
	aBlob
	anObjectURL
	aSaver
	aDecoder
	aDownload
	aWriter
	aData
)

// scriptWords are the ways in which they are written, in lower case.
var scriptWords = [...][]string{
	aScript:     {"<script", ":script", "javascript:", "onload", "onerror", "onclick", "onmouse", "onfocus", "onpageshow", "ontoggle", "onbegin", "srcdoc", "<handler"},
	aBlob:       {"new blob", "blob(", "new file(", "[\"blob\"]", "['blob']"},
	anObjectURL: {"createobjecturl"},
	aSaver:      {"mssaveoropenblob", "mssaveblob", "showsavefilepicker"},
	aDecoder:    {"atob", "fromcharcode", "unescape(", "decodeuricomponent(", "uint8array", "charcodeat", "parseint("},
	aDownload:   {"download=", ".download", "\"download\"", "'download'", "download ="},
	aData:       {"base64,"},
	aWriter:     {"document.write", "document['write", "document[\"write", ".innerhtml", "eval(", "document.open"},
}

// longestWord is longer than any of them.
const longestWord = 24

// look finds out which of these words there are.
func (s *smuggler) look(words ...scriptWord) error {
	r := s.p.Content()
	buf := make([]byte, 32<<10)
	keep := 0
	for {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		n, err := r.Read(buf[keep:])
		b := bytes.ToLower(dropZeros(buf[:keep+n]))
		for _, w := range words {
			s.words[w] = s.words[w] || slices.ContainsFunc(scriptWords[w], func(word string) bool { return bytes.Contains(b, []byte(word)) })
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		keep = copy(buf, b[max(0, len(b)-longestWord):])
	}
}

// dropZeros makes ASCII of what is UTF-16.
func dropZeros(b []byte) []byte {
	if bytes.IndexByte(b, 0) < 0 {
		return b
	}
	return bytes.ReplaceAll(b, []byte{0}, nil)
}

// why tells why a page is taken for one that smuggles; empty if it is not.
func (s *smuggler) why() string {
	has := func(w scriptWord) bool { return s.words[w] }
	script := has(aScript) || strings.Contains(s.p.MediaType, "script")
	switch {
	case has(aDownload) && s.data >= minPayload:
		return fmt.Sprintf("a download of %d bytes within the page", s.data)
	case s.data >= 4*minPayload:
		return fmt.Sprintf("a document of %d bytes within the page", s.data)
	case !script:
		return ""
	case has(anObjectURL) && has(aBlob), has(aSaver):
		return "a script that makes a file"
	case has(aDecoder) && has(aDownload) && s.most >= minLiteral:
		return "a script that decodes a file for download"
	case has(aDecoder) && s.most >= 4*minPayload:
		return fmt.Sprintf("a script that decodes %d bytes", s.most)
	case has(aDecoder) && has(aWriter) && s.most >= minLiteral:
		return "a script that writes the page anew from encoded text"
	}
	return ""
}

// next reads a byte that is not 0.
func (s *smuggler) next() (byte, bool) {
	for {
		c, err := s.r.ReadByte()
		if err != nil {
			return 0, false
		}
		if c == 0 {
			continue
		}
		if len(s.recent) == cap(s.recent) {
			s.recent = append(s.recent[:0], s.recent[len(s.recent)/2:]...)
		}
		s.recent = append(s.recent, c)
		return c, true
	}
}

// pass goes on to where an encoded text may begin, as far as is in the buffer.
func (s *smuggler) pass() {
	b, _ := s.r.Peek(max(s.r.Buffered(), 1))
	n := slices.IndexFunc(b, func(c byte) bool { return mayBegin[c] })
	if n < 0 {
		n = len(b)
	}
	tail := dropZeros(b[max(0, n-cap(s.recent)/2):n])
	if len(s.recent)+len(tail) > cap(s.recent) {
		s.recent = append(s.recent[:0], s.recent[len(s.recent)-cap(s.recent)/4:]...)
	}
	s.recent = append(s.recent, tail[max(0, len(tail)-cap(s.recent)/2):]...)
	_, _ = s.r.Discard(n)
}

// mayBegin are the characters before an encoded text.
var mayBegin = [256]bool{'"': true, '\'': true, '`': true, ',': true, '[': true, '(': true}

// back gives the last byte back.
func (s *smuggler) back() {
	_ = s.r.UnreadByte()
	s.recent = s.recent[:len(s.recent)-1]
}

// literals decodes what is written in the page.
func (s *smuggler) literals() error {
	s.r = bufio.NewReaderSize(ContextReader(s.ctx, s.p.Content()), 32<<10)
	s.recent = make([]byte, 0, 256)
	for s.index < maxCarved {
		s.pass()
		c, ok := s.next()
		if !ok {
			return s.ctx.Err()
		}
		var err error
		switch {
		case c == '"' || c == '\'' || c == '`':
			err = s.quoted(c)
		case c == ',' && bytes.HasSuffix(bytes.ToLower(s.recent), []byte("base64,")):
			err = s.dataURL()
		case c == '[' || c == '(':
			err = s.carve(&numberText{s: s}, minLiteral, false)
		}
		if err != nil {
			return err
		}
	}
	s.over = true
	return nil
}

// quoted looks at what begins behind a quote.
func (s *smuggler) quoted(quote byte) error {
	head, _ := s.r.Peek(4)
	switch head = dropZeros(head); {
	case len(head) < 2:
		return nil
	case head[0] == '\\' && (head[1]|0x20 == 'x' || head[1]|0x20 == 'u'), head[0] == '%':
		return s.carve(&escapedText{s: s, quote: quote}, minLiteral, false)
	case base64Digit(head[0]):
		return s.carve(&plainText{s: s, quote: quote}, minLiteral, false)
	}
	return nil
}

// harmlessData are the beginnings of media types of data: URLs that browsers show and do not run.
// They are common, and examined by nobody else either.
var harmlessData = []string{"image/png", "image/jp", "image/gif", "image/webp", "image/bmp", "image/x-icon", "image/avif", "font/", "application/font", "application/x-font", "application/vnd.ms-fontobject", "audio/", "video/", "text/css"}

// dataURL looks at what begins behind "base64,".
func (s *smuggler) dataURL() error {
	low := strings.ToLower(string(s.recent))
	i := strings.LastIndex(low, "data:")
	media := ""
	if i >= 0 {
		media = strings.TrimSpace(low[i+len("data:"):])
		if slices.ContainsFunc(harmlessData, func(m string) bool { return strings.HasPrefix(media, m) }) {
			return nil
		}
	}
	return s.carve(&plainText{s: s}, minLiteral, i >= 0 && !strings.HasPrefix(media, "image/svg")) // which is examined, and is common
}

// A carvedText is a text in some encoding. It gives what it stands for, byte by byte; false at
// its end.
type carvedText interface{ byte() (byte, bool) }

// carve makes a member of what an encoded text stands for, if that is long enough.
func (s *smuggler) carve(t carvedText, least int, data bool) error {
	head := make([]byte, 0, least)
	if p, ok := t.(*plainText); ok {
		least = least * 3 / 4
		p.begin()
	}
	for len(head) < least {
		c, ok := t.byte()
		if !ok {
			return nil
		}
		head = append(head, c)
	}
	cr := &carvedReader{t: t}
	if err := s.member(nil, io.MultiReader(bytes.NewReader(head), cr)); err != nil {
		return err
	}
	n := int64(len(head)) + cr.n
	s.most = max(s.most, n)
	if data {
		s.data = max(s.data, n)
	}
	return nil
}

// A carvedReader reads the rest of a text.
type carvedReader struct {
	t carvedText
	n int64
}

func (r *carvedReader) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		c, ok := r.t.byte()
		if !ok {
			r.n += int64(n)
			return n, io.EOF
		}
		p[n] = c
		n++
	}
	r.n += int64(n)
	return n, nil
}

func base64Digit(c byte) bool {
	return c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '+' || c == '/' || c == '-' || c == '_'
}

func isHexDigit(c byte) bool { return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f' }

// A plainText is text in base64, or in hexadecimal.
type plainText struct {
	s     *smuggler
	quote byte // what it is in; 0 in a data: URL
	hex   bool
	ended bool
	out   []byte
}

// begin finds out which of the two it is.
func (t *plainText) begin() {
	head, _ := t.s.r.Peek(128)
	head = dropZeros(head)
	t.hex = len(head) >= 32 && !slices.ContainsFunc(head, func(c byte) bool { return !isHexDigit(c) })
}

func (t *plainText) byte() (byte, bool) {
	for len(t.out) == 0 {
		if t.ended {
			return 0, false
		}
		t.group()
	}
	c := t.out[0]
	t.out = t.out[1:]
	return c, true
}

// group decodes the next few digits.
func (t *plainText) group() {
	var digits [4]byte
	want := len(digits)
	if t.hex {
		want = 2
	}
	n := 0
	for n < want {
		c, ok := t.digit()
		if !ok {
			t.ended = true
			break
		}
		digits[n] = c
		n++
	}
	var buf [3]byte
	if t.hex {
		k, _ := hex.Decode(buf[:], digits[:n&^1])
		t.out = append(t.out[:0], buf[:k]...)
		return
	}
	if n == 1 {
		return
	}
	k, _ := base64.RawStdEncoding.Decode(buf[:], digits[:n])
	t.out = append(t.out[:0], buf[:k]...)
}

// digit reads a digit, over line breaks and over where one string is added to the next.
func (t *plainText) digit() (byte, bool) {
	for {
		c, ok := t.s.next()
		if !ok {
			return 0, false
		}
		switch {
		case t.hex && isHexDigit(c), !t.hex && base64Digit(c):
			switch c {
			case '-':
				c = '+'
			case '_':
				c = '/'
			}
			return c, true
		case c == '\r' || c == '\n' || c == '\\' || t.quote == 0 && (c == ' ' || c == '\t'):
			continue
		case c == t.quote && t.s.joined():
			continue
		}
		t.s.back()
		return 0, false
	}
}

// maxJoin is how many bytes may be between two strings that are added.
const maxJoin = 64

// joined reports whether another string is added to the one that has ended, and goes into it.
func (s *smuggler) joined() bool {
	b, _ := s.r.Peek(maxJoin)
	rest := bytes.TrimLeft(b, " \t\r\n\x00")
	if len(rest) == 0 || rest[0] != '+' {
		return false
	}
	rest = bytes.TrimLeft(rest[1:], " \t\r\n\x00")
	if len(rest) == 0 || rest[0] != '"' && rest[0] != '\'' && rest[0] != '`' {
		return false
	}
	_, _ = s.r.Discard(len(b) - len(rest) + 1)
	return true
}

// An escapedText is a string of escapes of a script (\x41, \u0041) or of a URL (%41, %u0041).
type escapedText struct {
	s     *smuggler
	quote byte
	more  []byte
}

func (t *escapedText) byte() (byte, bool) {
	if len(t.more) > 0 {
		c := t.more[0]
		t.more = t.more[1:]
		return c, true
	}
	c, ok := t.s.next()
	if ok && c == t.quote && t.s.joined() {
		c, ok = t.s.next()
	}
	if !ok {
		return 0, false
	}
	if c != '\\' && c != '%' {
		if c == t.quote || c < ' ' {
			t.s.back()
			return 0, false
		}
		return c, true
	}
	digits := 2
	head, _ := t.s.r.Peek(1)
	switch {
	case len(head) == 0:
		return 0, false
	case head[0]|0x20 == 'u':
		digits = 4
		fallthrough
	case head[0]|0x20 == 'x':
		_, _ = t.s.r.Discard(1)
	case c == '\\':
		return c, true
	}
	var r rune
	for range digits {
		d, ok := t.s.next()
		if !ok {
			return 0, false
		}
		if !isHexDigit(d) {
			t.s.back()
			break
		}
		v, _ := hex.DecodeString("0" + string(d))
		r = r<<4 | rune(v[0])
	}
	if r >= 0x100 {
		t.more = utf8.AppendRune(nil, r)
		c, t.more = t.more[0], t.more[1:]
		return c, true
	}
	return byte(r), true
}

// A numberText is a list of numbers, each of which is a byte.
type numberText struct{ s *smuggler }

func (t *numberText) byte() (byte, bool) {
	c, ok := t.s.next()
	for ok && (c <= ' ' || c == ',') {
		c, ok = t.s.next()
	}
	if !ok {
		return 0, false
	}
	if c < '0' || c > '9' {
		t.s.back()
		return 0, false
	}
	base, n := 10, int(c-'0')
	for digits := 0; ; digits++ {
		c, ok = t.s.next()
		switch {
		case !ok:
			return byte(n), true
		case c|0x20 == 'x' && n == 0 && digits == 0:
			base = 16
			continue
		case base == 10 && c >= '0' && c <= '9':
			n = n*10 + int(c-'0')
		case base == 16 && isHexDigit(c):
			v, _ := hex.DecodeString("0" + string(c))
			n = n*16 + int(v[0])
		default:
			t.s.back()
			return byte(n), true
		}
		if n > 255 {
			return 0, false // numbers of another kind
		}
	}
}
