package sanitize

import (
	"context"
	"encoding/base64"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"rastel/sanitize/eml"
)

// mendBareCR puts a blank in the place of each CR that ends no line.
func mendBareCR(_ *fieldContext, v string) (string, string) {
	n := strings.Count(v, "\r") - strings.Count(v, "\r\n")
	if n == 0 {
		return v, ""
	}
	b := []byte(v)
	for i, c := range b {
		if c == '\r' && (i+1 == len(b) || b[i+1] != '\n') {
			b[i] = ' '
		}
	}
	return string(b), fmt.Sprintf("%d bare carriage returns", n)
}

// mendControl puts a blank in the place of each control character: what no field holds but folds
// and tabs (RFC 5322 section 2.2), and the escapes of ISO-2022.
func mendControl(_ *fieldContext, v string) (string, string) {
	detail := ""
	b := []byte(v) // which need not be UTF-8
	for i, c := range b {
		if isControl(c) || c == 0x1b && !isDesignation(v[i+1:]) {
			if detail == "" {
				detail = fmt.Sprintf("byte %#02x", c)
			}
			b[i] = ' '
		}
	}
	return string(b), detail
}

func isControl(c byte) bool {
	return c < ' ' && c != '\t' && c != '\n' && c != '\r' && c != 0x1b || c == 0x7f
}

// isDesignation reports whether what follows an escape character chooses a character set
// (ECMA-35); what terminals obey begins otherwise.
func isDesignation(s string) bool {
	return s != "" && strings.IndexByte("($)*+-./&NO", s[0]) >= 0
}

// words are encoded words (RFC 2047) next to each other, as leniently as eml.DecodeWords reads
// them.
var words = regexp.MustCompile(`=\?[^?]{1,64}\?[bBqQ]\?(?:(?s:.*?)\?=|\S*$)(?:[ \t\r\n]*=\?[^?]{1,64}\?[bBqQ]\?(?:(?s:.*?)\?=|\S*$))*`)

// mendWords gives the encoded words of a value another text, where change gives one.
func mendWords(v string, change func(text string) string) string {
	return words.ReplaceAllStringFunc(v, func(run string) string {
		text := decoded(run)
		if fixed := change(text); fixed != text {
			return encodeWords(fixed)
		}
		return run
	})
}

// decoded is a value as it is shown. Blanks at its end do not count: a word that has no end of its
// own is one without them.
func decoded(v string) string { return eml.DecodeWords(strings.TrimRight(unfolded(v), " \t")) }

func unfolded(v string) string {
	if !strings.ContainsAny(v, "\r\n") {
		return v
	}
	return strings.NewReplacer("\r", "", "\n", "").Replace(v)
}

// inert makes encoded words of a value text that nobody decodes: the last resort for those that are
// put together in a way that no sender does.
func inert(v string) string { return strings.ReplaceAll(v, "=?", "=_?") }

// maxWordText is how many bytes of text fit into an encoded word in UTF-8 and base64: a word has
// at most 75 characters (RFC 2047 section 2).
const maxWordText = 45

// encodeWords encodes a text, whatever it holds, on a line for each word.
func encodeWords(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	var b strings.Builder
	for text != "" {
		piece := shorten(text, maxWordText)
		text = text[len(piece):]
		if b.Len() > 0 {
			b.WriteString("\r\n ")
		}
		b.WriteString("=?utf-8?b?" + base64.StdEncoding.EncodeToString([]byte(piece)) + "?=")
	}
	return b.String()
}

// mendEncodedControl puts a blank in the place of each control character in encoded words: a
// decoded line break is the beginning of another field for whoever writes it out again. What is
// in parameters of MIME fields is a name, and judged as one.
func mendEncodedControl(c *fieldContext, v string) (string, string) {
	if c.isMIME() && c.name != "content-description" || !strings.Contains(v, "=?") {
		return v, ""
	}
	detail := decodedControl(decoded(v))
	if detail == "" {
		return v, ""
	}
	fixed := mendWords(v, func(text string) string {
		text = strings.TrimRight(text, "\r\n") // which careless senders encode with their line
		return blankControls(text)
	})
	if decodedControl(decoded(fixed)) != "" {
		fixed = inert(v)
	}
	return fixed, "decodes to " + detail
}

// decodedControl tells the first control character; nothing if there is none.
func decodedControl(text string) string {
	for i := range len(text) {
		if isDecodedControl(text, i) {
			return fmt.Sprintf("U+%04X", text[i])
		}
	}
	return ""
}

// isDecodedControl reports whether byte i is a control character. Tabs pass, and the escapes of
// ISO-2022, and C1 controls: a wrongly declared charset makes those of dashes and quotes.
func isDecodedControl(text string, i int) bool {
	switch c := text[i]; {
	case c >= ' ':
		return c == 0x7f
	case c == 0x1b:
		return !isDesignation(text[i+1:])
	default:
		return c != '\t'
	}
}

// blankControls puts a blank in the place of each control character.
func blankControls(text string) string {
	b := []byte(text)
	for i := range b {
		if isDecodedControl(text, i) {
			b[i] = ' '
		}
	}
	return string(b)
}

// shownFields are those that mail clients and archives on the web show.
var shownFields = set(`subject from sender reply-to to cc bcc resent-from resent-sender resent-to resent-cc comments keywords
	organization organisation thread-topic content-description list-id`)

// mendHTML defangs active HTML, which webmail and archives of lists have shown as such. It does so
// in place where it stands as it is, and writes those encoded words anew that hold some.
func mendHTML(c *fieldContext, v string) (string, string) {
	if !shownFields[c.name] || !strings.Contains(v, "<") && !strings.Contains(v, "=?") {
		return v, ""
	}
	_, detail := defangText(decoded(v))
	if detail == "" {
		return v, ""
	}
	fixed, _ := defangText(v)
	fixed = mendWords(fixed, func(text string) string { text, _ = defangText(text); return text })
	if _, still := defangText(decoded(fixed)); still != "" { // divided between words
		fixed = mendWords(fixed, func(text string) string { return strings.ReplaceAll(text, "<", "&lt;") })
		fixed = strings.ReplaceAll(fixed, "<=?", "&lt;=?")
	}
	if _, still := defangText(decoded(fixed)); still != "" {
		fixed = inert(fixed)
	}
	return fixed, detail
}

// handler is how an attribute with script begins, wherever it stands.
var handler = regexp.MustCompile(`(?i)[\s/"']on[a-z]+\s*=`)

// defangText renames active HTML in a text, and tells the first of it; nothing if there is none. A tag
// without an end counts only if it is one beyond doubt: "a<b and c=d" is none.
func defangText(text string) (string, string) {
	if !strings.Contains(text, "<") {
		return text, ""
	}
	pg := newPage([]byte(text))
	defer pg.done()
	_ = pg.examine(context.Background()) // which does not end; a header is small
	if pg.over {
		return strings.ReplaceAll(text, "<", "&lt;"), "too much HTML"
	}
	var b strings.Builder
	from, detail := 0, ""
	for _, m := range pg.marks {
		if m.at == from && from > 0 || !isActive(m.check) || m.check == checkMalformed && !isActiveTag(text[m.at:]) {
			continue
		}
		if detail == "" {
			detail = pg.excerpt(m.at)
		}
		b.WriteString(text[from:m.at])
		b.Write(m.edit(nil).Text)
		from = m.at
	}
	return b.String() + text[from:], detail
}

// isActiveTag reports whether a tag that has no end begins with an element that is unsafe, or
// has script.
func isActiveTag(s string) bool {
	name := s
	if i := strings.IndexAny(s, " \t\r\n/>="); i >= 0 {
		name = s[:i]
	}
	e := elements.find([]byte(strings.ToLower(name)))
	return e != nil && e.refused || handler.MatchString(s)
}

// isActive reports whether a check is about what is active, and not about what is worth knowing.
func isActive(check htmlCheck) bool { return strings.HasPrefix(htmlChecks[check].ID, "html/") }

// addressFields are those that the Procmail Email Sanitizer looked through for null addresses.
var addressFields = set(`sender from reply-to to cc bcc errors-to disposition-notification-to apparently-to return-path
	resent-sender resent-from resent-reply-to resent-to resent-cc resent-bcc`)

var nullAddress = regexp.MustCompile(`<[ \t\r\n]*>`)

// nullAddresses are some that stand together or within each other: without the inner ones, the
// outer would be null addresses too.
var nullAddresses = regexp.MustCompile(`<[<> \t\r\n]*>`)

// noAddress is a group without members (RFC 5322 section 3.4; RFC 6854 allows it anywhere).
const noAddress = " DEFANGED-null-addresses:;"

// mendNullAddresses takes out null addresses, of which a server can take only so many.
func mendNullAddresses(c *fieldContext, v string) (string, string) {
	if !addressFields[c.name] {
		return v, ""
	}
	n := len(nullAddress.FindAllStringIndex(v, -1))
	if n < c.config.nullAddresses() {
		return v, ""
	}
	fixed := nullAddresses.ReplaceAllString(v, "")
	if strings.Trim(fixed, " \t\r\n,;") == "" {
		fixed = noAddress
	}
	return fixed, fmt.Sprintf("%d null addresses", n)
}

// shortFields are fields whose length has a limit; lists of addresses and the like are long for
// good reasons.
var shortFields = set(`subject mime-version date resent-date sender resent-sender from resent-from reply-to resent-reply-to
	errors-to disposition-notification-to apparently-to message-id return-path status x-status x-keywords`)

// rawFactor is how many bytes a character of a field may take: those of an emoji in the Q encoding,
// and its share of what is around the word.
const rawFactor = 16

// mendLong cuts what is too long. The limits are those of the Procmail Email Sanitizer, in
// characters as they are shown: 250 of Japanese are more than 1,000 bytes, and nothing odd.
func mendLong(c *fieldContext, v string) (string, string) {
	limit := c.config.field()
	if c.name == "subject" {
		limit = c.config.subject()
	}
	if !shortFields[c.name] || len(v) <= limit {
		return v, ""
	}
	cut := shownCut(v, limit)
	if cut == len(v) {
		return v, ""
	}
	detail := fmt.Sprintf("more than %d characters, %d bytes", limit, len(v))
	if c.isDate() { // what is cut within a comment is no date
		return c.dateAnew(unfolded(v)), detail
	}
	return shortened(v, cut, limit), detail
}

// shortened cuts a value at byte cut. If it begins with a word that is too long as such, or would be
// read in another way without its end, what is shown of it is encoded anew.
func shortened(v string, cut, limit int) string {
	text := strings.TrimRight(v[:cut], " \t\r\n")
	if i := strings.LastIndexByte(text, 0x1b); i >= 0 && !strings.HasPrefix(text[i:], asciiEscape) {
		text += asciiEscape
	}
	shown := decoded(text)
	if strings.Trim(text, " \t\r\n") != "" && shownCut(text, limit) == len(text) && decodedControl(shown) == "" {
		return text
	}
	shown = blankControls(strings.TrimLeft(decoded(v), " \t"))
	return " " + encodeWords(cutRunes(shown, limit))
}

// asciiEscape goes back to ASCII in ISO-2022.
const asciiEscape = "\x1b(B"

// shownCut is the byte up to which at most limit characters of a value are shown: that of its end
// if these are all. It is not within an encoded word, an escape or a character. Blanks before the
// value do not count, nor do those between encoded words (RFC 2047 section 6.2).
func shownCut(v string, limit int) int {
	c := counter{text: v, at: len(v) - len(strings.TrimLeft(v, " \t\r\n"))}
	end := len(strings.TrimRight(v, " \t\r\n"))
	for n := 0; c.at < end; {
		size, shown := c.next()
		if n += shown; n > limit || c.at+size > limit*rawFactor {
			return c.at
		}
		c.at += size
	}
	return len(v)
}

// A counter goes through a value, character by character as they are shown.
type counter struct {
	text  string
	at    int
	words bool // the last was an encoded word
	wide  bool // a character set of ISO-2022 with two bytes each is in force
}

// next tells the size in bytes of what comes, and how many characters that is.
func (c *counter) next() (size, shown int) {
	s := c.text[c.at:]
	after := c.words
	c.words = false
	switch {
	case strings.IndexByte(" \t\r\n", s[0]) >= 0:
		blanks := len(s) - len(strings.TrimLeft(s, " \t\r\n"))
		if after && wordSize(s[blanks:]) > 0 {
			return blanks, 0
		}
		return blanks, len(unfolded(s[:blanks]))
	case s[0] == 0x1b:
		c.wide = strings.HasPrefix(s[1:], "$")
		if c.wide && len(s) > 3 && strings.IndexByte("()*+", s[2]) >= 0 {
			return 4, 0
		}
		return min(3, len(s)), 0
	case c.wide:
		if len(s) > 1 && s[1] > ' ' {
			return 2, 1
		}
		return 1, 1
	}
	if n := wordSize(s); n > 0 {
		c.words = true
		return n, utf8.RuneCountInString(eml.DecodeWords(s[:n]))
	}
	_, size = utf8.DecodeRuneInString(s)
	return size, 1
}

// maxEncodedWord is how far the end of an encoded word is looked for.
const maxEncodedWord = 8 << 10

// wordSize is the length of the encoded word that s begins with; 0 if there is none.
func wordSize(s string) int {
	if !strings.HasPrefix(s, "=?") {
		return 0
	}
	head := wordHead.FindString(s[:min(len(s), 100)])
	if head == "" {
		return 0
	}
	n := strings.Index(s[len(head):min(len(s), maxEncodedWord)], "?=")
	if n < 0 {
		return 0
	}
	return len(head) + n + 2
}

// wordHead is the beginning of an encoded word up to its text.
var wordHead = regexp.MustCompile(`^=\?[^?]{1,64}\?[bBqQ]\?`)

func cutRunes(s string, n int) string {
	for i := range s {
		if n--; n < 0 {
			return s[:i]
		}
	}
	return s
}
