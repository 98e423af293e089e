package eml

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A param is one parameter of a structured field such as Content-Type (RFC 2045 section 5.1,
// RFC 2231), as it stands there.
type param struct {
	name     string   // lower case, without the marks of RFC 2231
	value    string   // unquoted
	others   []string // what else clients take for the value
	soft     []string // and what strict ones do, where the value is one that senders write
	section  int      // the number of a continuation (name*2), -1 if it is none
	extended bool     // charset'language'value with percent encoding (name*)
}

// A parsedField is a structured field taken apart leniently.
type parsedField struct {
	text    string // the whole value
	value   string // what comes before the first parameter, lower case
	params  []param
	damaged bool // something in it is not what RFC 2045 allows, and clients differ about it
	over    bool // there were more parameters than the limit

	alts []parsedField // what clients make of it that take it apart in another way
	fold bool          // of an alt: it differs from the field in how folds are read, which may well be harmless
}

// parseField takes apart the value of a Content-Type or Content-Disposition field as it stands in
// the message, folds included. It never gives up: what cannot be read as a parameter is passed
// over, and damaged is set.
func parseField(raw string, limit int) parsedField {
	f := parseOnce(unfoldTo(raw, ""), limit, false)
	if foldsWithin(raw) { // some drop the blanks of a fold with its line break, or make one of them
		for _, blank := range []string{"-", " "} {
			alt := parseOnce(unfoldTo(raw, blank), limit, false)
			alt.fold = true
			f.alts = append(f.alts, alt)
		}
	}
	for _, v := range otherBlanks(f.text) {
		f.alts = append(f.alts, parseOnce(v, limit, false))
	}
	if strings.IndexByte(f.text, '(') >= 0 {
		f.alts = append(f.alts, parseOnce(f.text, limit, true))
	}
	if encodesSyntax(f.text) {
		f.alts = append(f.alts, parseOnce(DecodeWords(f.text), limit, false))
	}
	if f.damaged || semicolonInQuotes(f.text) {
		f.alts = append(f.alts, parseNaively(f.text, limit))
	}
	for i := range f.alts {
		f.over = f.over || f.alts[i].over
	}
	return f
}

// otherBlanks are the forms of a field in which odd blanks outside of quotes are plain ones, or none;
// nothing if there are no odd ones.
func otherBlanks(text string) []string {
	plain := plainBlanks(text, " ")
	if plain == text {
		return nil
	}
	return []string{plain, plainBlanks(text, "")}
}

// encodesSyntax reports whether an encoded word stands where neither a value nor a quoted string does:
// some clients decode a field before they take it apart.
func encodesSyntax(s string) bool {
	before, _, ok := strings.Cut(s, "=?")
	return ok && strings.Count(before, `"`)%2 == 0 && !strings.HasSuffix(strings.TrimRight(before, " \t"), "=")
}

// semicolonInQuotes reports whether a semicolon is in quotes for some client: not all of them know
// that a backslash makes a quote part of the text.
func semicolonInQuotes(s string) bool {
	if strings.Contains(s, `\"`) && strings.Contains(s, ";") {
		return true
	}
	quoted := false
	for i := range len(s) {
		if s[i] == ';' && quoted {
			return true
		}
		if s[i] == '"' {
			quoted = !quoted
		}
	}
	return false
}

// unfoldTo takes out the line breaks of a field (RFC 5322 section 2.2.3); the blanks that follow
// one remain if blank is empty, vanish if it is "-", and become one if it is " ".
func unfoldTo(raw, blank string) string {
	if !strings.ContainsAny(raw, "\r\n") {
		return strings.Trim(raw, " \t")
	}
	var b strings.Builder
	for i := 0; i < len(raw); i++ {
		if c := raw[i]; c != '\r' && c != '\n' {
			b.WriteByte(c)
			continue
		}
		for blank != "" && i+1 < len(raw) && strings.IndexByte(" \t\r\n", raw[i+1]) >= 0 {
			i++
		}
		if blank == " " {
			b.WriteByte(' ')
		}
	}
	return strings.Trim(b.String(), " \t")
}

// foldsWithin reports whether a field is folded anywhere but behind a semicolon between parameters.
func foldsWithin(raw string) bool {
	quoted, last := false, byte(';')
	for i := range len(raw) {
		switch c := raw[i]; c {
		case '\n':
			if quoted || last != ';' {
				return true
			}
		case ' ', '\t', '\r':
		case '"':
			quoted, last = !quoted, c
		default:
			last = c
		}
	}
	return false
}

// oddBlank is the length of what s begins with if some client takes that for a blank and others do
// not: a control character, a no-break space or another blank of Unicode, in UTF-8 or in Latin-1.
func oddBlank(s string) int {
	switch c := s[0]; {
	case c < ' ' && c != '\t', c == 0x7f, c == 0x85, c == 0xa0:
		return 1
	case c < 0x80:
		return 0
	}
	if r, n := utf8.DecodeRuneInString(s); n > 1 && (unicode.IsSpace(r) || r == '\ufeff' || r >= 0x200b && r <= 0x200f || r == 0x2060) {
		return n
	}
	return 0
}

// plainBlanks puts blank in the place of odd blanks that are not in quotes.
func plainBlanks(s, blank string) string {
	var b strings.Builder
	quoted := false
	for i := 0; i < len(s); i++ {
		if n := oddBlank(s[i:]); n > 0 && !quoted {
			b.WriteString(blank)
			i += n - 1
			continue
		}
		if s[i] == '"' {
			quoted = !quoted
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// parseNaively takes apart the text of a field as clients do that divide it at each semicolon, those
// in quotes too.
func parseNaively(v string, limit int) parsedField {
	f := parsedField{text: v}
	pieces := strings.SplitN(v, ";", limit+2)
	if f.over = len(pieces) > limit+1; f.over {
		pieces = pieces[:limit+1]
	}
	for i, piece := range pieces {
		name, value, ok := strings.Cut(piece, "=")
		if i == 0 {
			f.value = strings.ToLower(strings.Trim(piece, " \t"))
		} else if ok {
			p := splitName(strings.Trim(name, " \t\""))
			p.value = strings.Trim(value, " \t\"")
			f.params = append(f.params, p)
		}
	}
	return f
}

// parseOnce takes apart the text of a field, without folds.
func parseOnce(v string, limit int, noComments bool) parsedField {
	f := parsedField{text: v}
	s := fieldScanner{s: v, noComments: noComments}
	f.value = strings.ToLower(s.token())
	f.damaged = s.odd
	for {
		s.skip(" \t;")
		if s.end() {
			break
		}
		if len(f.params) == limit {
			f.over = true
			break
		}
		if p, ok := s.param(); ok {
			f.params = append(f.params, p)
		}
	}
	f.damaged = f.damaged || s.odd
	return f
}

// A fieldScanner walks over the value of a structured field.
type fieldScanner struct {
	s   string
	pos int
	odd bool // something was not as it should be

	noComments bool // parentheses are nothing special
}

func (s *fieldScanner) end() bool { return s.pos >= len(s.s) }

// skip passes over the bytes in set and over comments (RFC 5322 section 3.2.2). A comment that
// holds what looks like a parameter is read as one by clients that know no comments.
func (s *fieldScanner) skip(set string) {
	for !s.end() {
		if s.s[s.pos] == '(' && !s.noComments {
			s.comment()
		} else if strings.IndexByte(set, s.s[s.pos]) < 0 {
			return
		} else {
			s.pos++
		}
	}
}

func (s *fieldScanner) comment() {
	depth, start := 0, s.pos
	for ; !s.end(); s.pos++ {
		switch s.s[s.pos] {
		case '\\':
			s.pos++
		case '(':
			depth++
		case ')':
			depth--
		}
		if depth == 0 {
			s.pos++
			break
		}
	}
	s.pos = min(s.pos, len(s.s))
	if depth != 0 || strings.ContainsAny(s.s[start:s.pos], "=;") {
		s.odd = true
	}
}

// stops reports whether the byte before us is in set.
func (s *fieldScanner) stops(set string) bool {
	c := s.s[s.pos]
	return strings.IndexByte(set, c) >= 0 && (c != '(' || !s.noComments)
}

// token reads the first word: the media type or the disposition.
func (s *fieldScanner) token() string {
	s.skip(" \t")
	start := s.pos
	for !s.end() && !s.stops("; \t(\"") {
		s.pos++
	}
	word := s.s[start:s.pos]
	if i := strings.IndexByte(word, '='); i >= 0 {
		// "multipart/mixed boundary=x" without any type, or the type is missing.
		s.odd, s.pos = true, start
		return ""
	}
	s.skip(" \t")
	if !s.end() && s.s[s.pos] != ';' {
		s.odd = true
	}
	return word
}

// param reads "name=value". It reports false for something else, which it passes over.
func (s *fieldScanner) param() (param, bool) {
	start := s.pos
	for !s.end() && !s.stops("=; \t(\"") {
		s.pos++
	}
	name := s.s[start:s.pos]
	s.skip(" \t")
	for marks := s.pos; !s.end() && name != "" && strings.IndexByte("*0123456789", s.s[s.pos]) >= 0 && s.s[marks] == '*'; s.pos++ {
		name += s.s[s.pos : s.pos+1] // "filename *0*"
	}
	if s.end() || s.s[s.pos] != '=' || name == "" {
		s.odd = true
		if s.pos == start { // a lone "=" or quote
			s.pos++
		}
		return param{}, false
	}
	s.pos++
	s.skip(" \t")
	p := splitName(name)
	if !s.end() && s.s[s.pos] == '"' {
		p.value, p.others = s.quoted()
	} else {
		p.value, p.others, p.soft = s.unquoted()
	}
	return p, true
}

// unquoted reads a value up to the next semicolon.
func (s *fieldScanner) unquoted() (value string, others, soft []string) {
	start := s.pos
	for !s.end() && s.s[s.pos] != ';' {
		s.pos++
	}
	value = strings.TrimRight(s.s[start:s.pos], " \t")
	if s.noComments && strings.IndexByte(value, '(') < 0 {
		value = strings.TrimRight(value, ")")
	}
	if i := strings.IndexByte(value, '('); i > 0 && strings.HasSuffix(value, ")") && !s.noComments {
		others = append(others, value)
		value = strings.TrimRight(value[:i], " \t") // a trailing comment
	}
	if i := strings.IndexAny(value, " \t\","); i >= 0 {
		s.odd = true // clients end the value there, or do not
		others = append(others, value[:i])
	}
	if strings.ContainsAny(value, "<>@[]\\") {
		s.odd = true
	}
	if i := strings.IndexAny(value, "=/:?"); i > 0 {
		soft = append(soft, value[:i])
	}
	if strings.IndexByte(value, '\\') >= 0 {
		others = append(others, strings.ReplaceAll(value, `\`, ""))
	}
	if bare := strings.Trim(value, "'"); bare != value {
		others = append(others, bare)
	}
	return value, others, soft
}

// quoted reads a quoted string (RFC 5322 section 3.2.4); one without an end goes to the end
// of the field.
func (s *fieldScanner) quoted() (value string, others []string) {
	var b strings.Builder
	s.pos++
	start, escaped := s.pos, false
	for ; !s.end() && s.s[s.pos] != '"'; s.pos++ {
		if s.s[s.pos] == '\\' && s.pos+1 < len(s.s) {
			s.pos++
			escaped = true
		}
		b.WriteByte(s.s[s.pos])
	}
	if escaped {
		others = append(others, s.s[start:min(s.pos, len(s.s))])
	}
	if s.end() {
		s.odd = true
	}
	s.pos++
	within := b.Len()
	for s.skip(" \t"); !s.end() && s.s[s.pos] != ';'; s.pos++ {
		if s.noComments && s.s[s.pos] == '(' {
			s.pos += max(strings.IndexByte(s.s[s.pos:], ';'), 0)
			break
		}
		s.odd = true // something between the closing quote and the next semicolon
		b.WriteByte(s.s[s.pos])
	}
	if b.Len() > within {
		others = append(others, b.String()[:within])
	}
	return b.String(), others
}

// IsNameParam reports whether some client takes the parameter of that name, in lower case, for the
// name of the file: those of RFC 2183 section 2.3 and RFC 2045 section 5.1, and what enmime reads.
func IsNameParam(param string) bool {
	return param == "filename" || param == "name" || param == "file"
}

// splitName takes the marks of RFC 2231 off a parameter's name: "filename*2*".
func splitName(name string) param {
	name = name[strings.LastIndexAny(name, ",:\"")+1:] // "attachment,filename"
	p := param{name: strings.ToLower(name), section: -1}
	if rest, ok := strings.CutSuffix(p.name, "*"); ok {
		p.name, p.extended = rest, true
	}
	base, num, ok := strings.Cut(p.name, "*")
	if !ok {
		return p
	}
	p.name = base // also where no number follows: some clients look no further
	if num == "" || len(num) > 5 || strings.Trim(num, "0123456789") != "" {
		return p
	}
	p.section = 0
	for _, c := range num {
		p.section = p.section*10 + int(c-'0')
	}
	return p
}

// values are all values that some client would take for the parameter, each once: the plain
// ones in order, then the extended ones, then the joined continuations.
func (f *parsedField) values(name string) []string {
	var out distinct
	f.own(name, &out)
	for i := range f.alts {
		f.alts[i].own(name, &out)
	}
	return out.list
}

// first is for each parameter the first of its values, which is what most clients take.
func (f *parsedField) first() map[string]string {
	first := f.firstOwn()
	for i := range f.alts {
		var alt map[string]string
		for name, v := range first {
			if v != "" {
				continue
			}
			if alt == nil {
				alt = f.alts[i].firstOwn()
			}
			first[name] = alt[name]
		}
	}
	return first
}

func (f *parsedField) firstOwn() map[string]string {
	lists := map[string][]param{}
	for _, p := range f.params {
		lists[p.name] = append(lists[p.name], p)
	}
	first := make(map[string]string, len(lists))
	for name, list := range lists {
		var values distinct
		addValues(list, &values)
		first[name] = firstOf(values.list)
	}
	return first
}

// boundaries are the values of the boundary parameter, and doubtful ones: in mail that is sound but
// for its form, some clients see those, and find no parts with them.
func (f *parsedField) boundaries() (certain, doubtful []string) {
	var sure distinct
	f.own("boundary", &sure)
	for i := range f.alts {
		if !f.alts[i].fold {
			f.alts[i].own("boundary", &sure)
		}
	}
	certain = sure.list
	for _, v := range f.values("boundary") {
		if !sure.has(v) {
			doubtful = append(doubtful, v)
		}
		if d := percentDecode(v); d != v {
			doubtful = append(doubtful, d)
		}
		if d := strings.Trim(v, " \t"); d != v {
			doubtful = append(doubtful, d)
		}
	}
	for _, p := range f.params {
		if p.name == "boundary" {
			doubtful = append(doubtful, p.soft...)
		}
	}
	return certain, doubtful
}

// own adds the values that do not come from alts.
func (f *parsedField) own(name string, out *distinct) {
	var list []param
	for _, p := range f.params {
		if p.name == name {
			list = append(list, p)
		}
	}
	addValues(list, out)
}

// addValues adds the values of one parameter.
func addValues(list []param, out *distinct) {
	var joined []string
	var pieces []param
	add := func(v string) {
		if v != "" {
			out.add(v)
		}
	}
	for _, p := range list {
		switch {
		case p.section >= 0:
			pieces = append(pieces, p)
		case p.extended:
			joined = append(joined, decodeExtended(p.value))
		default:
			add(p.value)
			for _, v := range p.others {
				add(v)
			}
		}
	}
	for _, v := range joined {
		add(v)
	}
	for _, v := range joinPieces(pieces) {
		add(v)
	}
}

// distinct collects strings, each once.
type distinct struct {
	list  []string
	known map[string]bool // the list, once it is long
}

// fewStrings are compared one by one.
const fewStrings = 8

func (d *distinct) has(s string) bool {
	if d.known != nil {
		return d.known[s]
	}
	return slices.Contains(d.list, s)
}

func (d *distinct) add(s string) {
	if d.has(s) {
		return
	}
	d.list = append(d.list, s)
	switch {
	case d.known != nil:
		d.known[s] = true
	case len(d.list) > fewStrings:
		d.known = map[string]bool{}
		for _, v := range d.list {
			d.known[v] = true
		}
	}
}

// joinPieces puts continuations together (RFC 2231 section 3): in the order of their numbers up
// to the first gap, and, as other clients do, all of them, in the order in which they stand, and the
// first and the last of those that have one number.
func joinPieces(pieces []param) []string {
	if len(pieces) == 0 {
		return nil
	}
	asTheyStand := join(pieces)
	slices.SortStableFunc(pieces, func(a, b param) int { return a.section - b.section })
	sameSection := func(a, b param) bool { return a.section == b.section }
	first := slices.CompactFunc(slices.Clone(pieces), sameSection)
	last := slices.Clone(pieces)
	slices.Reverse(last)
	last = slices.CompactFunc(last, sameSection)
	slices.Reverse(last)
	gap := 0
	for gap < len(first) && first[gap].section == gap {
		gap++
	}
	out := append(join(first[:gap]), join(first)...)
	out = append(out, join(last)...)
	return append(append(out, join(pieces)...), asTheyStand...)
}

// join puts pieces together: with the charset that the first one tells, and, if others tell one
// too, without those.
func join(pieces []param) []string {
	var text, bare strings.Builder
	charset := ""
	for i, p := range pieces {
		v := p.value
		if p.extended && i == 0 {
			charset, v = splitExtended(v)
		}
		rest := v
		if p.extended {
			if _, r := splitExtended(v); i > 0 {
				rest = r
			}
			v, rest = percentDecode(v), percentDecode(rest)
		}
		text.WriteString(v)
		bare.WriteString(rest)
	}
	return []string{ToUTF8(charset, text.String()), ToUTF8(charset, bare.String())}
}

// decodeExtended decodes charset'language'value (RFC 2231 section 4).
func decodeExtended(v string) string {
	charset, rest := splitExtended(v)
	return ToUTF8(charset, percentDecode(rest))
}

func splitExtended(v string) (charset, rest string) {
	charset, rest, ok := strings.Cut(v, "'")
	if !ok {
		return "", v
	}
	_, rest, ok = strings.Cut(rest, "'")
	if !ok {
		return "", v
	}
	return charset, rest
}

// percentDecode decodes %XX and leaves anything else as it is.
func percentDecode(v string) string {
	if strings.IndexByte(v, '%') < 0 {
		return v
	}
	b := make([]byte, 0, len(v))
	for i := 0; i < len(v); i++ {
		if v[i] == '%' && i+2 < len(v) {
			if hi, lo := unhex[v[i+1]], unhex[v[i+2]]; hi|lo < 16 {
				b = append(b, hi<<4|lo)
				i += 2
				continue
			}
		}
		b = append(b, v[i])
	}
	return string(b)
}
