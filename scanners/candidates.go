package scanners

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/width"

	"rastel/sanitize/eml"
)

const (
	// maxCandidates is how many words Candidates gives.
	maxCandidates = 2000
	// maxCandidate is how many bytes a word may have.
	maxCandidate = 64
	// maxCandidateText is how much of the text of a message is looked at.
	maxCandidateText = 256 << 10
	// maxNotes is how much text a part has at most that is taken for a note of nothing but a password.
	maxNotes = 200
	// maxLine is how many bytes of a line are looked at together.
	maxLine = 400
	// linesAfter is how many lines behind one that speaks of a password may have it.
	linesAfter = 2
	// wordsAfter is how many words behind the word for a password are taken for it, and wordsBefore
	// how many before it.
	wordsAfter, wordsBefore = 8, 3
)

// How likely a word is a password, the most likely first.
const (
	told      = iota // behind a word for a password, and set off
	near             // close to a word for a password
	marked           // in quotes or brackets, on a line of its own, or with digits
	titles           // of the subject and of file names
	addresses        // of addresses
	plain            // any other
	classes
)

// Candidates are the words of a message that may be a password, each once, the most likely first: of
// the texts that are shown, subjects, names of files, and addresses.
func Candidates(m *eml.Message) []string {
	var c candidates
	left := int64(maxCandidateText)
	m.Root.Walk(func(p *eml.Part) bool {
		c.header(p)
		for _, name := range p.Names {
			c.name(name)
		}
		if p.Leaf() && !p.Member() && left > 0 && (p.Is("text") || strings.HasPrefix(p.MediaType, "text/")) {
			b := make([]byte, min(left, p.Size))
			n, _ := p.Content().ReadAt(b, 0) // what cannot be read has no words
			left -= int64(n)
			c.content(p, b[:n])
		}
		return true
	})
	return c.list()
}

// candidates collects words.
type candidates struct {
	found [classes][]string
	seen  [classes]map[string]bool
}

// list is what was collected, in order.
func (c *candidates) list() (out []string) {
	seen := map[string]bool{}
	for _, words := range c.found {
		for _, w := range words {
			if !seen[w] && len(out) < maxCandidates {
				seen[w] = true
				out = append(out, w)
			}
		}
	}
	return out
}

// add adds a word, if it can be one.
func (c *candidates) add(class int, w string) {
	if w == "" || len(w) > maxCandidate || len(c.found[class]) >= maxCandidates || !utf8.ValidString(w) || c.seen[class][w] {
		return
	}
	if c.seen[class] == nil {
		c.seen[class] = map[string]bool{}
	}
	c.seen[class][w] = true
	c.found[class] = append(c.found[class], w)
}

// header adds the words of the header of a message or an entity.
func (c *candidates) header(p *eml.Part) {
	for _, field := range []string{"Subject", "Content-Description", "Comments", "Keywords"} {
		if s := p.Header.Text(field); s != "" {
			c.text(s, titles)
		}
	}
	for _, field := range []string{"From", "To", "Reply-To", "Sender", "Cc"} {
		c.addresses(p.Header.Text(field))
	}
}

// addresses adds the parts of addresses.
func (c *candidates) addresses(s string) {
	s = s[:min(len(s), maxNotes*maxCandidate)]
	for word := range strings.FieldsFuncSeq(s, func(r rune) bool { return strings.ContainsRune(" \t<>,;:\"()", r) }) {
		c.add(addresses, word)
		local, domain, ok := strings.Cut(word, "@")
		if ok {
			c.add(addresses, local)
			c.add(addresses, domain)
			first, _, _ := strings.Cut(domain, ".")
			c.add(addresses, first)
		}
	}
}

// name adds a file name, without its extension too, and its words.
func (c *candidates) name(name string) {
	base := name[strings.LastIndexAny(name, `/\`)+1:]
	c.add(titles, base)
	for dot := strings.LastIndexByte(base, '.'); dot > 0; dot = strings.LastIndexByte(base[:dot], '.') {
		c.add(titles, base[:dot])
	}
	c.text(strings.NewReplacer("_", " ", ".", " ").Replace(base), titles)
}

// content adds the words of a text; of a page, those that are shown.
func (c *candidates) content(p *eml.Part, b []byte) {
	text := eml.ToUTF8(p.Params["charset"], string(b))
	if p.Is("html") || p.MediaType == "text/html" {
		text = shown(text)
	}
	class := plain
	if len(text) <= maxNotes {
		class = marked
	}
	c.text(text, class)
}

// text adds the words of a text, those that nothing speaks for as of that class.
func (c *candidates) text(text string, class int) {
	after := 0 // lines behind one that speaks of a password
	for line := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == '\n' || r == '\r' || r == '\u2028' }) {
		for line = strings.TrimSpace(line); line != ""; {
			var piece string
			piece, line = cutLine(line)
			after--
			c.forms(piece, class, after >= 0)
			if _, _, ok := cutKeyword(piece); ok {
				after = linesAfter
			}
		}
	}
}

// cutLine cuts off as much of a long line as is looked at together, at a blank if there is one.
func cutLine(line string) (piece, rest string) {
	if len(line) <= maxLine {
		return line, ""
	}
	end := strings.LastIndexByte(line[:maxLine], ' ')
	if end <= 0 {
		end = maxLine
	}
	return line[:end], strings.TrimSpace(line[end:])
}

// forms adds the words of a line in the forms in which it can be read: as it stands, with narrow
// letters for wide ones, and with letters put together that stand apart.
func (c *candidates) forms(line string, class int, after bool) {
	c.line(line, class, after)
	if narrow := width.Fold.String(line); narrow != line {
		c.line(narrow, class, after)
		line = narrow
	}
	if close := together(line); close != line {
		c.line(close, class, after)
	}
}

// line adds the words of a line.
func (c *candidates) line(line string, class int, after bool) {
	c.quoted(line)
	words := strings.Fields(line)
	if after {
		if len(words) == 1 {
			c.word(told, words[0])
		}
		c.all(near, words[:min(len(words), wordsAfter)])
		c.add(near, line)
	}
	if len(words) == 1 {
		c.word(min(class, marked), words[0])
	} else if len(line) <= maxCandidate && class <= titles {
		c.add(class, line)
	}
	if before, rest, ok := cutKeyword(line); ok {
		c.keyed(before, rest)
	}
	for _, w := range words {
		if strings.ContainsFunc(w, unicode.IsDigit) {
			c.word(marked, w)
		} else {
			c.word(class, w)
		}
	}
}

// keyed adds what stands around a word for a password.
func (c *candidates) keyed(before, rest string) {
	head := strings.Fields(before)
	head = head[max(len(head)-wordsBefore, 0):]
	if i := strings.IndexAny(rest, ":=："); i >= 0 {
		_, n := utf8.DecodeRuneInString(rest[i:])
		c.set(strings.TrimSpace(rest[i+n:]))
	}
	c.set(strings.TrimSpace(rest))
	words := strings.Fields(rest)
	c.all(near, words[:min(len(words), wordsAfter)])
	c.all(near, head)
	if again, further, ok := cutKeyword(rest); ok { // once more; the rest is shorter each time
		c.keyed(again, further)
	}
}

// set adds what follows a word for a password directly: the first word, what is put together of the
// next ones, and all of it.
func (c *candidates) set(rest string) {
	words := strings.Fields(rest)
	if len(words) == 0 {
		return
	}
	c.word(told, words[0])
	c.add(told, asciiRun(rest))
	for _, w := range words[1:min(len(words), wordsAfter)] {
		if strings.ContainsFunc(w, unicode.IsDigit) {
			c.word(told, w)
		}
	}
	joined := words[0]
	for _, w := range words[1:min(len(words), wordsAfter)] {
		joined += w
		c.add(told, joined)
	}
	c.word(told, rest)
}

func (c *candidates) all(class int, words []string) {
	for _, w := range words {
		c.word(class, w)
	}
}

// word adds a word: without what ends a sentence, without punctuation around it, as it stands, and of
// a date the digits alone.
func (c *candidates) word(class int, w string) {
	c.add(class, strings.TrimRight(w, ".,;:!?。、，"))
	c.add(class, strings.TrimRight(w, ".,;:。、，"))
	c.add(class, strings.TrimFunc(w, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }))
	c.add(class, w)
	if run := asciiRun(w); len(run) >= 3 && len(run) < len(w) {
		c.add(class, run)
	}
	if digits := strings.Map(dateDigit, w); len(digits) >= 6 && len(digits) < len(w) && strings.IndexFunc(digits, notDigit) < 0 {
		c.add(class, digits)
	}
}

func notDigit(r rune) bool { return r < '0' || r > '9' }

// dateDigit leaves out what stands between the digits of a date or a number.
func dateDigit(r rune) rune {
	if strings.ContainsRune("./-,;:()", r) {
		return -1
	}
	return r
}

// asciiRun is the first word of letters, digits and signs of ASCII: in languages without blanks
// between words a password is one such.
func asciiRun(s string) string {
	start := strings.IndexFunc(s, func(r rune) bool { return r < utf8.RuneSelf && (unicode.IsLetter(r) || unicode.IsDigit(r)) })
	if start < 0 {
		return ""
	}
	s = s[start:]
	if end := strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f }); end >= 0 {
		s = s[:end]
	}
	return strings.TrimRight(s, ".,;:)]}>\"'")
}

// quotes are the signs around what is quoted: that before it, that behind it.
var quotes = map[rune]string{'"': `"`, '\'': `'`, '`': "`'", '(': ")", '[': "]", '{': "}", '<': ">", '«': "»", '»': "«", '“': "”", '”': "”", '„': "“”",
	'‚': "‘’", '‘': "’", '‹': "›", '「': "」", '『': "』", '【': "】", '《': "》", '*': "*", '|': "|"}

// quoted adds what is in quotes or brackets.
func (c *candidates) quoted(line string) {
	for i, r := range line {
		closing := quotes[r]
		if closing == "" {
			continue
		}
		rest := line[i+utf8.RuneLen(r):]
		if end := strings.IndexAny(rest[:min(len(rest), maxCandidate+1)], closing); end > 0 {
			c.add(marked, rest[:end])
			c.add(marked, strings.TrimSpace(rest[:end]))
		}
	}
}

// together puts letters together that stand apart: "p a s s : 1 2 3 4" is "pass:1234". More than one
// blank stays one.
func together(line string) string {
	var out strings.Builder
	for i, group := range strings.Split(strings.ReplaceAll(line, "\u00a0", " "), "  ") {
		letters := strings.Fields(group)
		apart := 0
		for _, l := range letters {
			if utf8.RuneCountInString(l) == 1 {
				apart++
			}
		}
		if i > 0 {
			out.WriteByte(' ')
		}
		if len(letters) >= 3 && 4*apart >= 3*len(letters) {
			out.WriteString(strings.Join(letters, ""))
		} else {
			out.WriteString(group)
		}
	}
	return out.String()
}

// keywords are the words for a password. Those of Latin letters with no more than five of them stand
// alone, because they are in other words too.
var keywords = splitKeywords(`
	password passwort passcode passphrase passwd passord passwor pass pswd pass: pwd psw pw p/w pword pin code key unlock
	kennwort codewort schlüssel mot_de_passe mdp contraseña contrasena clave senha palavra-passe palavra_passe
	chiave parola wachtwoord lösenord losenord adgangskode kodeord kode salasana hasło haslo heslo jelszó jelszo şifre sifre
	парол парола код ключ κωδικό סיסמה סיסמא كلمة_السر كلمة_المرور رمز पासवर्ड รหัสผ่าน mật_khẩu kata_sandi sandi parole
	slaptažodis parool lozinka geslo 密码 密碼 口令 解压码 パスワード パスコード 暗証番号 暗号 비밀번호 암호 패스워드`)

// splitKeywords makes the list; an underscore stands for a blank.
func splitKeywords(list string) []string {
	words := strings.Fields(list)
	for i := range words {
		words[i] = strings.ReplaceAll(words[i], "_", " ")
	}
	return words
}

// cutKeyword cuts a line at the first word for a password.
func cutKeyword(line string) (before, after string, ok bool) {
	low := lower(line)
	at, end := -1, 0
	for _, k := range keywords {
		if i := indexKeyword(low, k); i >= 0 && (at < 0 || i < at || i == at && i+len(k) > end) {
			at, end = i, i+len(k)
		}
	}
	if at < 0 {
		return "", "", false
	}
	return line[:at], line[end:], true
}

func indexKeyword(low, k string) int {
	for from := 0; ; {
		i := strings.Index(low[from:], k)
		if i < 0 {
			return -1
		}
		i += from
		if len(k) > 5 || k[0] >= utf8.RuneSelf || !isLetter(low, i-1) && !isLetter(low, i+len(k)) {
			return i
		}
		from = i + 1
	}
}

// isLetter reports whether the byte at i is a letter of ASCII.
func isLetter(s string, i int) bool { return i >= 0 && i < len(s) && s[i] >= 'a' && s[i] <= 'z' }

// lower gives small letters, in the same number of bytes.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if l := unicode.ToLower(r); utf8.RuneLen(l) == utf8.RuneLen(r) {
			return l
		}
		return r
	}, s)
}

// WordsOf are the words of a text that may be a password, the most likely first.
func WordsOf(text string) []string {
	var c candidates
	c.text(text, marked)
	return c.list()
}
