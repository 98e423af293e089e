package scanners

import (
	"bytes"
	"context"
	"encoding/base64"
	"io"
	"strings"

	"rastel/sanitize/eml"
)

// UUEncode finds files that are encoded within text (POSIX uuencode, also with its base64, and
// XXEncode), as mail clients do whatever the label of the text says. They are told by a line
// "begin" with a mode and a name, but text has such lines too: what follows must look encoded.
type UUEncode struct{}

// Checks are all checks that Expand may report.
func (UUEncode) Checks() []eml.Check { return []eml.Check{damagedCheck} }

// Scan finds nothing: all that is to be said is said by Expand.
func (UUEncode) Scan(context.Context, *eml.Part) ([]eml.Finding, error) { return nil, nil }

// Expand yields the files that are encoded in p.
func (UUEncode) Expand(ctx context.Context, p *eml.Part, b *Budget, yield func(*eml.Part) error) ([]eml.Finding, error) {
	h := &hidden{ctx: ctx, p: p, b: b, yield: yield}
	err := h.uuFiles(newLineReader(ctx, p.Content()))
	if err == nil && p.Encoding == eml.UUEncode { // as a transfer encoding: it was decoded, without its names
		err = h.uuFiles(newLineReader(ctx, p.Encoded()))
	}
	return h.findings, err
}

func (h *hidden) uuFiles(lines *lineReader) error {
	var begun *uuFile // by a line that looked like text; some clients go by that line alone
	for {
		line, err := lines.read()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		switch {
		case lines.inside:
			continue
		case looksLikeBegin(line):
			f, ok, err := h.uuBegin(lines)
			if err != nil {
				return err
			}
			if f != nil {
				begun = f
			}
			if !ok {
				continue
			}
		case begun == nil || !begun.follows(line):
			continue
		default:
			lines.unread()
			begun.bad("an encoded file does not begin where it says")
		}
		if err := h.uuFile(begun); err != nil {
			return err
		}
		begun = nil
	}
}

// uuBegin takes a line "begin"; f is nil if it is none. It reports whether a file follows.
func (h *hidden) uuBegin(lines *lineReader) (f *uuFile, ok bool, err error) {
	line, err := lines.rest()
	if err != nil && err != io.EOF {
		return nil, false, err
	}
	f = &uuFile{lines: lines}
	if !f.begin(line) {
		return nil, false, nil
	}
	first, err := lines.text()
	if err != nil && err != io.EOF {
		return nil, false, err
	}
	lines.again = err == nil
	return f, f.accepts(first), nil
}

func (h *hidden) uuFile(f *uuFile) error {
	if err := h.member(f.names, f); err != nil {
		return err
	}
	if f.damage != "" && f.evident() {
		h.report(hiddenDamaged, f.damage)
	}
	return nil
}

// A certainty is how much a line "begin" looks like that of an encoded file.
type certainty uint8

const (
	perhaps certainty = iota // "begin 5 minutes": clients take it for one, with anything behind two blanks
	likely                   // with a mode in octal
	certain                  // and a name with an extension, without blanks
)

// An alphabet is what the lines of a file are in.
type alphabet uint8

const (
	uuAlphabet alphabet = iota
	xxAlphabet
	base64Alphabet
)

// A uuFile reads one encoded file, from the line after "begin" to that with "end".
type uuFile struct {
	lines    *lineReader
	names    nameList
	sure     certainty
	alphabet alphabet

	out    []byte // decoded, and not read yet
	room   [64]byte
	zero   bool // a line of no bytes was seen: "end" should follow
	over   bool
	ended  bool // by "end"
	good   int  // lines that are as they should be
	alike  int  // others that are no prose: long, and in letters of the alphabet
	damage string

	long []byte // room for a line of base64
	acc  uint32 // base64: bits of an incomplete group
	have int    // sextets in it
}

// looksLikeBegin is quick, for it is asked of every line.
func looksLikeBegin(line []byte) bool {
	line = afterMark(line)
	return len(line) > 6 && line[0]|0x20 == 'b' && bytes.EqualFold(line[:5], []byte("begin"))
}

// begin takes the names from a line "begin", and reports whether it is one.
func (f *uuFile) begin(line []byte) bool {
	rest := string(afterMark(line)[len("begin"):])
	word, rest, ok := strings.Cut(strings.ReplaceAll(rest, "\t", " "), " ")
	encoded := false
	switch strings.ToLower(word) {
	case "":
	case "-base64":
		f.alphabet = base64Alphabet
	case "-encoded":
		encoded = true
	case "-base64-encoded":
		f.alphabet, encoded = base64Alphabet, true
	default:
		return false
	}
	rest = strings.Trim(rest, " ")
	if !ok || rest == "" {
		return false
	}
	mode, name, _ := strings.Cut(rest, " ")
	name = strings.Trim(name, " ")
	if n := len(mode); n >= 3 && n <= 7 && strings.Trim(mode, "01234567") == "" && name != "" {
		f.sure = likely
		if extension := name[strings.LastIndexByte(name, '.')+1:]; len(extension) < len(name) && len(extension) > 0 && !strings.Contains(name, " ") {
			f.sure = certain
		}
	} else {
		f.addName(rest, encoded)
	}
	f.addName(name, encoded)
	return true
}

func (f *uuFile) addName(name string, encoded bool) {
	if encoded { // GNU sharutils: "uuencode --encode-file-name"
		if b, err := base64.StdEncoding.DecodeString(name); err == nil {
			f.names.add(string(b))
			return
		}
	}
	f.names.add(name)
	f.names.add(strings.Trim(name, `"'`))
}

// accepts reports whether the first line after "begin" is that of an encoded file; it is nil if
// there is none.
func (f *uuFile) accepts(first []byte) bool {
	if f.alphabet == base64Alphabet {
		return f.sure == certain || len(first) > 0 && onlyBase64(trimBlanks(first))
	}
	uu, strict := uuFits(first)
	if xx := xxFits(first); xx && (!uu || len(first)-1 < minimum(uuCount(first))) {
		f.alphabet = xxAlphabet
		return f.sure >= likely || first[0] == 'h' // a whole line
	}
	switch f.sure {
	case certain:
		return true
	case likely:
		return uu || strict && len(first) > 1
	}
	return uu && strict && len(first) > 4
}

// uuLine is how long a line at least is that no text looks like.
const uuLine = 20

// follows reports whether a line further on is certainly one of the file.
func (f *uuFile) follows(line []byte) bool {
	if len(line) <= uuLine || f.alphabet == base64Alphabet {
		return false
	}
	if len(line) == 61 && line[0] == 'h' && xxFits(line) {
		f.alphabet = xxAlphabet
		return true
	}
	uu, strict := uuFits(line)
	return uu && strict && len(line)-1 >= minimum(uuCount(line))
}

// evident reports whether it is certain that a file is encoded here. Else it may be text that
// only looks so: what it decodes to is examined, and that it is damaged says nothing.
func (f *uuFile) evident() bool {
	return f.good > 1 || (f.good > 0 || f.alike > 1) && (f.ended || f.sure >= likely)
}

// bad notes what is wrong.
func (f *uuFile) bad(damage string) {
	if f.damage == "" {
		f.damage = damage
	}
}

// Read gives what the file decodes to, up to its end.
func (f *uuFile) Read(p []byte) (int, error) {
	for len(f.out) == 0 {
		if f.over {
			return 0, io.EOF
		}
		line, err := f.lines.read()
		switch {
		case err == io.EOF:
			f.over = true
			f.bad("an encoded file without its end")
			f.flush()
		case err != nil:
			return 0, err
		case f.lines.inside && f.alphabet != base64Alphabet:
			f.bad("an encoded line is too long") // and what is behind its length is passed over
		default:
			f.one(line)
		}
	}
	n := copy(p, f.out)
	f.out = f.out[n:]
	return n, nil
}

// one takes one line.
func (f *uuFile) one(line []byte) {
	word := trimBlanks(line)
	switch {
	case len(line) == 0:
	case f.alphabet == base64Alphabet && string(word) == "====",
		f.alphabet != base64Alphabet && bytes.EqualFold(word, []byte("end")):
		f.over, f.ended = true, true
		f.flush()
	case looksLikeBegin(line) && new(uuFile).beginsFor(line):
		f.lines.unread()
		f.over = true
		f.bad("an encoded file without its end")
		f.flush()
	case f.alphabet == base64Alphabet:
		f.base64(line)
	default:
		f.data(line)
	}
}

// beginsFor reports whether a line certainly begins another file.
func (f *uuFile) beginsFor(line []byte) bool { return f.begin(line) && f.sure >= likely }

// data decodes a line of uuencode or XXEncode: a letter for how many bytes it holds, and four for
// each three of them. Where letters are missing they stand for 0, for blanks at the end of a line
// get lost.
func (f *uuFile) data(line []byte) {
	n, value := uuCount(line), uuValue
	fits, strict := uuFits(line)
	fits = fits && strict
	if f.alphabet == xxAlphabet {
		value = xxValue
		n, fits = int(value(line[0])), xxFits(line)
		if n > 63 {
			f.bad("an encoded file with a line that is not encoded")
			return
		}
	}
	switch {
	case n == 0:
		f.zero = f.zero || len(line) < 6
		return
	case f.zero && !fits: // text follows
		f.lines.unread()
		f.over = true
		f.bad("an encoded file without its end")
		return
	case f.zero:
		f.bad("an encoded file goes on behind its end")
	case !fits:
		f.bad("an encoded line is of the wrong length, or has letters of no encoding")
	}
	switch {
	case fits && len(line)-1 >= minimum(n):
		f.good++
	case strict && len(line) > uuLine:
		f.alike++
	}
	f.out = f.room[:0]
	for at := 1; n > 0; at += 4 {
		var v uint32
		for i := at; i < at+4; i++ {
			v <<= 6
			if i < len(line) && value(line[i]) < 64 {
				v |= uint32(value(line[i]))
			}
		}
		group := [3]byte{byte(v >> 16), byte(v >> 8), byte(v)}
		f.out = append(f.out, group[:min(n, 3)]...)
		n -= 3
	}
}

// base64 decodes a line, or a piece of one. What is not of the alphabet is passed over.
func (f *uuFile) base64(line []byte) {
	if onlyBase64(trimBlanks(line)) {
		f.good++
	} else {
		f.bad("base64 with letters of another alphabet")
	}
	f.out = f.long[:0]
	for _, c := range line {
		v := base64Value(c)
		if c == '=' {
			f.flush()
		}
		if v > 63 {
			continue
		}
		f.acc = f.acc<<6 | uint32(v)
		if f.have++; f.have == 4 {
			f.out = append(f.out, byte(f.acc>>16), byte(f.acc>>8), byte(f.acc))
			f.acc, f.have = 0, 0
		}
	}
	f.long = f.out[:0]
}

// flush decodes an incomplete group of base64.
func (f *uuFile) flush() {
	switch f.have {
	case 2:
		f.out = append(f.out, byte(f.acc>>4))
	case 3:
		f.out = append(f.out, byte(f.acc>>10), byte(f.acc>>2))
	}
	f.acc, f.have = 0, 0
}

// uuCount is how many bytes a line of uuencode holds, as its first letter says.
func uuCount(line []byte) int { return int(uuValue(line[0])) }

// uuValue is what a letter stands for, also where it is not of the alphabet: decoders mask it.
func uuValue(c byte) byte { return (c - ' ') & 0x3f }

// minimum is how many letters n bytes need.
func minimum(n int) int { return (n*8 + 5) / 6 }

// uuFits reports whether a line of uuencode is as long as it says, give or take a checksum behind
// it and blanks that got lost, and whether all its letters are of the alphabet.
func uuFits(line []byte) (fits, strict bool) {
	if len(line) == 0 {
		return false, false
	}
	n := uuCount(line)
	strict = true
	for i, c := range line {
		if c < ' ' || c > '`' {
			strict = strict && c > ' ' && c <= '~' && i == 1+(n+2)/3*4 // the checksum
		}
	}
	have := len(line) - 1
	fits = have >= minimum(n) && have <= (n+2)/3*4+1 || strict && have < minimum(n)
	return n > 0 && fits, strict
}

// xxFits reports the same for a line of XXEncode. A blank is no checksum, or "-- " would be a line.
func xxFits(line []byte) bool {
	if len(line) < 2 {
		return false
	}
	for i, c := range line {
		if xxValue(c) > 63 && (i < len(line)-1 || c == ' ') {
			return false
		}
	}
	n, have := int(xxValue(line[0])), len(line)-1
	return n > 0 && n < 64 && have >= minimum(n) && have <= (n+2)/3*4+1
}

// xxValue is what a letter of XXEncode stands for; 255 if it is none.
func xxValue(c byte) byte {
	switch {
	case c == '+':
		return 0
	case c == '-':
		return 1
	case c >= '0' && c <= '9':
		return c - '0' + 2
	case c >= 'A' && c <= 'Z':
		return c - 'A' + 12
	case c >= 'a' && c <= 'z':
		return c - 'a' + 38
	}
	return 255
}

// base64Value is what a letter of base64 stands for, in both alphabets (RFC 4648); 255 if it is
// none.
func base64Value(c byte) byte {
	switch {
	case c >= 'A' && c <= 'Z':
		return c - 'A'
	case c >= 'a' && c <= 'z':
		return c - 'a' + 26
	case c >= '0' && c <= '9':
		return c - '0' + 52
	case c == '+', c == '-':
		return 62
	case c == '/', c == '_':
		return 63
	}
	return 255
}

func onlyBase64(word []byte) bool {
	for _, c := range word {
		if c != '=' && base64Value(c) > 63 {
			return false
		}
	}
	return len(word) > 0
}
