package scanners

import (
	"bytes"
	"context"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"strconv"
	"strings"

	"rastel/sanitize/eml"
)

// YEnc finds files that are encoded within text by yEnc (draft of Jürgen Helbing, version 1.3), as
// news readers do, which read mail too.
type YEnc struct{}

// Checks are all checks that Expand may report.
func (YEnc) Checks() []eml.Check { return []eml.Check{damagedCheck, partialCheck} }

// Scan finds nothing: all that is to be said is said by Expand.
func (YEnc) Scan(context.Context, *eml.Part) ([]eml.Finding, error) { return nil, nil }

// Expand yields the files that are encoded in p. One part of several becomes a member too: the
// first has the beginning of the file.
func (YEnc) Expand(ctx context.Context, p *eml.Part, b *Budget, yield func(*eml.Part) error) ([]eml.Finding, error) {
	h := &hidden{ctx: ctx, p: p, b: b, yield: yield}
	lines := newLineReader(ctx, p.Content())
	for {
		line, err := lines.read()
		if err == io.EOF {
			return h.findings, nil
		}
		if err != nil {
			return h.findings, err
		}
		if lines.inside || !isYLine(line, "=ybegin ") {
			continue
		}
		if line, err = lines.rest(); err != nil && err != io.EOF {
			return h.findings, err
		}
		f := newYFile(lines, line)
		if err := h.member(f.names, f); err != nil {
			return h.findings, err
		}
		if f.evident() {
			f.tell(h)
		}
	}
}

// isYLine reports whether a line is the control line that begins so.
func isYLine(line []byte, word string) bool {
	line = afterMark(line)
	return len(line) >= len(word) && bytes.EqualFold(line[:len(word)], []byte(word))
}

// A yFile reads one encoded file, from the line after "=ybegin" to "=yend".
type yFile struct {
	lines *lineReader
	names nameList
	head  map[string]string // of "=ybegin"
	part  map[string]string // of "=ypart"
	tail  map[string]string // of "=yend"; nil if there is none

	out     []byte // decoded, and not read yet
	over    bool
	escaped bool // the last byte was "="
	strange bool // a control line that is not known
	foreign bool // bytes that text does not have
	size    int64
	sum     hash.Hash32
}

func newYFile(lines *lineReader, line []byte) *yFile {
	f := &yFile{lines: lines, sum: crc32.NewIEEE(), part: map[string]string{}}
	f.head = yFields(string(afterMark(line)))
	name := f.head["name"]
	f.names.add(name)
	f.names.add(strings.Trim(name, `"`))
	return f
}

// yFields are the fields of a control line, by their names. That of the file name is the last, and
// goes to the end of the line, so that it may have blanks.
func yFields(line string) map[string]string {
	fields := map[string]string{}
	const last = " name="
	for at := range len(line) - len(last) + 1 { // not by ToLower: of what is not UTF-8 it changes the length
		if strings.EqualFold(line[at:at+len(last)], last) {
			fields["name"] = strings.Trim(line[at+len(last):], " \t")
			line = line[:at]
			break
		}
	}
	for word := range strings.FieldsSeq(line) {
		key, value, ok := strings.Cut(strings.ToLower(word), "=")
		if _, known := fields[key]; ok && !known && key != "" {
			fields[key] = value
		}
	}
	return fields
}

// Read gives what the file decodes to, up to its end.
func (f *yFile) Read(p []byte) (int, error) {
	for len(f.out) == 0 {
		if f.over {
			return 0, io.EOF
		}
		line, err := f.lines.read()
		switch {
		case err == io.EOF:
			f.over = true
		case err != nil:
			return 0, err
		case !f.lines.inside && isYLine(line, "=y"):
			f.control(line)
		default:
			f.decode(line)
		}
	}
	n := copy(p, f.out)
	f.out = f.out[n:]
	return n, nil
}

func (f *yFile) control(line []byte) {
	switch {
	case isYLine(line, "=yend"):
		f.tail, f.over = yFields(string(line)), true
	case isYLine(line, "=ybegin "):
		f.lines.unread()
		f.over = true
	case isYLine(line, "=ypart ") && len(f.part) == 0 && f.size == 0:
		f.part = yFields(string(line))
	default:
		f.strange = true
	}
}

// decode decodes a line in place.
func (f *yFile) decode(line []byte) {
	out := line[:0]
	for _, c := range line {
		f.foreign = f.foreign || c < ' ' && c != '\t' || c > '~'
		switch {
		case f.escaped:
			out = append(out, c-64-42)
			f.escaped = false
		case c == '=':
			f.escaped = true
		default:
			out = append(out, c-42)
		}
	}
	f.out = out
	f.size += int64(len(out))
	f.sum.Write(out)
}

// several reports whether this is one part of several.
func (f *yFile) several() bool {
	for _, key := range []string{"part", "total"} {
		if n := f.head[key]; n != "" && n != "1" {
			return true
		}
	}
	begin, end := f.part["begin"], f.part["end"]
	return begin != "" && begin != "1" || end != "" && end != f.head["size"]
}

// evident reports whether it is certain that a file is encoded here. Text that quotes the control
// lines is not damaged: what it decodes to is examined, and that is all.
func (f *yFile) evident() bool {
	return f.foreign || f.size > 0 && (f.head["size"] == strconv.FormatInt(f.size, 10) || f.tail != nil && f.tail["size"] == strconv.FormatInt(f.size, 10))
}

// tell reports what is wrong with the file.
func (f *yFile) tell(h *hidden) {
	if f.several() {
		h.report(hiddenPartial, fmt.Sprintf("part %.20q of %.20q of a file in yEnc", f.head["part"], f.head["total"]))
	}
	switch {
	case f.tail == nil:
		h.report(hiddenDamaged, "a file in yEnc without its end")
	case f.strange || f.escaped:
		h.report(hiddenDamaged, "a file in yEnc with an escape or a control line that is not known")
	case !f.sizeFits():
		h.report(hiddenDamaged, "a file in yEnc is of another size than it says")
	case !f.sumFits():
		h.report(hiddenDamaged, "a file in yEnc has another checksum than it says")
	}
}

func (f *yFile) sizeFits() bool {
	size := strconv.FormatInt(f.size, 10)
	if f.tail["size"] != size {
		return false
	}
	if len(f.part) == 0 {
		return f.head["size"] == size
	}
	begin, err1 := strconv.ParseInt(f.part["begin"], 10, 64)
	end, err2 := strconv.ParseInt(f.part["end"], 10, 64)
	return err1 == nil && err2 == nil && end-begin+1 == f.size
}

// sumFits holds the checksum against that of this part, or that of the file if there are no parts.
func (f *yFile) sumFits() bool {
	want := f.tail["pcrc32"]
	if want == "" && !f.several() {
		want = f.tail["crc32"]
	}
	if want == "" {
		return true
	}
	sum, err := strconv.ParseUint(want, 16, 32)
	return err == nil && uint32(sum) == f.sum.Sum32()
}
