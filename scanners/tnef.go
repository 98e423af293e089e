package scanners

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf16"

	"rastel/sanitize/eml"
)

// TNEF opens what Outlook packs a message into (MS-OXTNEF), which arrives as winmail.dat: told by
// its first bytes, whatever its label and its name. Its checksums are not looked at: programs that
// do show less, not something else.
type TNEF struct{}

// Checks are all checks that Expand may report.
func (TNEF) Checks() []eml.Check { return []eml.Check{damagedCheck} }

// Scan finds nothing: all that is to be said is said by Expand.
func (TNEF) Scan(context.Context, *eml.Part) ([]eml.Finding, error) { return nil, nil }

// Opens reports whether p is TNEF, or should be.
func (TNEF) Opens(p *eml.Part) bool {
	return p.Type == "tnef" || isTNEFLabel(p.MediaType) && p.Size > 0
}

// Expand yields the bodies of the message in p, its attachments, and the messages in it.
func (TNEF) Expand(ctx context.Context, p *eml.Part, b *Budget, yield func(*eml.Part) error) ([]eml.Finding, error) {
	h := &hidden{ctx: ctx, p: p, b: b, yield: yield}
	if p.Type != "tnef" {
		if isTNEFLabel(p.MediaType) && p.Size > 0 {
			h.report(hiddenDamaged, "labelled TNEF, and does not begin so")
		}
		return h.findings, nil
	}
	t := &tnef{hidden: h, r: p.Content()}
	err := t.message()
	return h.findings, err
}

func isTNEFLabel(media string) bool {
	return media == "application/ms-tnef" || media == "application/vnd.ms-tnef"
}

// Attributes of TNEF (MS-OXTNEF 2.1.3.2).
const (
	attBody         = 0x800c
	attAttachTitle  = 0x8010
	attAttachData   = 0x800f
	attAttachMeta   = 0x8011
	attAttachName   = 0x9001 // attAttachTransportFilename
	attAttachRend   = 0x9002 // begins an attachment
	attMsgProps     = 0x9003
	attAttachProps  = 0x9005 // attAttachment
	tnefHeader      = 4 + 2
	attributeHeader = 1 + 4 + 4
	maxAttributes   = 20_000
	maxContents     = 64 // of one attachment
	levelMessage    = 1
	levelAttachment = 2
	checksumSize    = 2
	maxProperties   = 100_000 // values in one attribute
	tnefDamaged     = "TNEF is damaged, or ends too soon"
)

// A tnef is the expansion of one TNEF.
type tnef struct {
	*hidden
	r *io.SectionReader

	// Of the attachment that is being read:
	names    nameList // file names
	titles   nameList // what is in attAttachTitle: also the subject of a message
	shown    nameList // names that are shown where there is no other
	contents []io.Reader
	embedded bool // it is a message
	any      bool // something was seen of it
}

func (t *tnef) message() error {
	off, n := int64(tnefHeader), 0
	for ; off < t.r.Size() && n < maxAttributes; n++ {
		if err := t.ctx.Err(); err != nil {
			return err
		}
		var b [attributeHeader]byte
		if k, _ := t.r.ReadAt(b[:], off); k < len(b) {
			if !t.onlyZeros(off) {
				t.report(hiddenDamaged, tnefDamaged)
			}
			break
		}
		size := int64(binary.LittleEndian.Uint32(b[5:]))
		off += attributeHeader
		if b[0] != levelMessage && b[0] != levelAttachment || off+size+checksumSize > t.r.Size() {
			t.report(hiddenDamaged, tnefDamaged)
			size = min(size, t.r.Size()-off)
		}
		if err := t.attribute(binary.LittleEndian.Uint16(b[1:]), io.NewSectionReader(t.r, off, size)); err != nil {
			return err
		}
		off += size + checksumSize
	}
	if n == maxAttributes {
		t.report(hiddenDamaged, fmt.Sprintf("TNEF with more than %d attributes", maxAttributes))
	}
	return t.endAttachment()
}

// onlyZeros reports whether the few bytes from off on are only filling.
func (t *tnef) onlyZeros(off int64) bool {
	var b [attributeHeader]byte
	n, _ := t.r.ReadAt(b[:], off)
	return !slices.ContainsFunc(b[:n], func(c byte) bool { return c != 0 })
}

// attribute takes one attribute.
func (t *tnef) attribute(id uint16, data *io.SectionReader) error {
	switch id {
	case attBody:
		return t.body(nil, trimmed(data))
	case attMsgProps:
		p := &properties{r: data}
		err := p.each(t.messageProperty)
		t.tell(p)
		return err
	case attAttachRend:
		if err := t.endAttachment(); err != nil {
			return err
		}
		t.any = true
	case attAttachTitle:
		t.titles.addStopped(string(section(data, maxHiddenName)))
		t.any = true
	case attAttachName:
		t.names.addStopped(string(section(data, maxHiddenName)))
		t.any = true
	case attAttachData:
		return t.content(data)
	case attAttachMeta: // a drawing that stands for the attachment
		return t.body(nil, data)
	case attAttachProps:
		p := &properties{r: data}
		err := p.each(t.attachmentProperty)
		t.tell(p)
		return err
	}
	return nil
}

func (t *tnef) tell(p *properties) {
	if p.bad {
		t.report(hiddenDamaged, "TNEF with properties that are damaged")
	}
}

// content adds one of the contents of an attachment: it may have several, and programs choose.
func (t *tnef) content(r *io.SectionReader) error {
	t.any = true
	if r.Size() == 0 { // Outlook leaves one of the two places empty
		return nil
	}
	if len(t.contents) == maxContents {
		t.report(hiddenDamaged, fmt.Sprintf("TNEF with an attachment of more than %d contents", maxContents))
		return nil
	}
	t.contents = append(t.contents, r)
	return nil
}

// endAttachment yields the attachment that was read; without content for its names.
func (t *tnef) endAttachment() error {
	if !t.any {
		return nil
	}
	names, contents := t.names, t.contents
	if !t.embedded || len(contents) > 1 {
		for _, title := range t.titles {
			names.add(title)
		}
		if len(names) == 0 {
			names = t.shown
		}
	}
	if len(contents) == 0 && len(names) > 0 {
		contents = []io.Reader{strings.NewReader("")}
	}
	t.names, t.titles, t.shown, t.contents = nil, nil, nil, nil
	t.embedded, t.any = false, false
	for _, r := range contents {
		if err := t.member(names, r); err != nil {
			return err
		}
	}
	return nil
}

// body yields what is shown of the message, a body or a drawing.
func (t *tnef) body(names nameList, r *io.SectionReader) error {
	if r.Size() == 0 {
		return nil
	}
	return t.member(names, r)
}

// trimmed is text without the zero at its end.
func trimmed(r *io.SectionReader) *io.SectionReader {
	var last [1]byte
	if n := r.Size(); n > 0 {
		if _, err := r.ReadAt(last[:], n-1); err == nil && last[0] == 0 {
			return io.NewSectionReader(r, 0, n-1)
		}
	}
	return r
}

// section is the beginning of what r holds, at most n bytes.
func section(r *io.SectionReader, n int64) []byte {
	b := make([]byte, min(n, r.Size()))
	k, _ := r.ReadAt(b, 0)
	return b[:k]
}

// Properties of messages and attachments (MS-OXPROPS).
const (
	propDisplayName   = 0x3001
	propBody          = 0x1000
	propRTF           = 0x1009
	propHTML          = 0x1013
	propAttachData    = 0x3701 // binary or an object
	propAttachName    = 0x3704
	propAttachLong    = 0x3707
	propAttachPath    = 0x3708
	propTransportName = 0x370c
	propAttachLongPth = 0x370d

	typeObject  = 0x000d
	typeString8 = 0x001e
	typeUnicode = 0x001f
	typeBinary  = 0x0102
)

// htmlBody is the name of an HTML body: it has none, but is HTML whatever it begins with.
const htmlBody = "body.html"

func (t *tnef) messageProperty(id, kind uint16, data *io.SectionReader) error {
	switch id {
	case propBody, propHTML:
		var names nameList
		if id == propHTML {
			names.add(htmlBody)
		}
		if kind == typeUnicode && data.Size() > 0 {
			return t.member(names, &utf16Reader{r: data})
		}
		return t.body(names, trimmed(data))
	case propRTF:
		f := &rtfReader{r: io.NewSectionReader(data, 0, data.Size())}
		if err := t.member(nil, f); err != nil {
			return err
		}
		if f.bad {
			t.report(hiddenDamaged, "TNEF with a compressed RTF that is damaged")
		}
	}
	return nil
}

// Objects that an attachment may be begin with the interface that opens them.
const (
	objectID   = 16
	iidMessage = "\x07\x03\x02\x00\x00\x00\x00\x00\xc0\x00\x00\x00\x00\x00\x00\x46" // IID_IMessage
)

func (t *tnef) attachmentProperty(id, kind uint16, data *io.SectionReader) error {
	text := func() string {
		b := section(data, maxHiddenName)
		if kind == typeUnicode {
			return fromUTF16(b)
		}
		return string(b)
	}
	switch id {
	case propAttachName, propAttachLong, propAttachPath, propAttachLongPth, propTransportName:
		t.names.addStopped(text())
		t.any = true
	case propDisplayName:
		t.shown.addStopped(text())
	case propAttachData:
		head := section(data, objectID)
		if kind != typeObject || len(head) < objectID || strings.HasPrefix(string(head), "\x78\x9f\x3e\x22") {
			return t.content(data)
		}
		t.embedded = string(head) == iidMessage
		return t.content(io.NewSectionReader(data, objectID, data.Size()-objectID))
	}
	return nil
}

// properties reads a list of properties (MS-OXTNEF 2.1.3.4).
type properties struct {
	r   *io.SectionReader
	at  int64
	bad bool
	n   int
}

func (p *properties) uint32() uint32 {
	var b [4]byte
	if n, _ := p.r.ReadAt(b[:], p.at); n < len(b) {
		p.bad = true
		return 0
	}
	p.at += 4
	return binary.LittleEndian.Uint32(b[:])
}

// skip passes over n bytes and what fills them up to a multiple of 4.
func (p *properties) skip(n int64) {
	p.at += roundUp(n, 4)
	if p.at > p.r.Size() && p.at-p.r.Size() > 3 { // some leave the filling away at the end
		p.bad = true
	}
	p.at = min(p.at, p.r.Size())
}

// each calls f for each value of a property that holds text, bytes or an object.
func (p *properties) each(f func(id, kind uint16, data *io.SectionReader) error) error {
	for n := p.uint32(); n > 0 && !p.bad; n-- {
		if err := p.property(f); err != nil {
			return err
		}
	}
	return nil
}

func (p *properties) property(f func(id, kind uint16, data *io.SectionReader) error) error {
	tag := p.uint32()
	kind, id := uint16(tag), uint16(tag>>16)
	if id >= 0x8000 {
		p.name()
	}
	several := kind&0x1000 != 0
	kind &^= 0x1000
	size, variable := propertySize(kind)
	values := uint32(1)
	if several || variable {
		values = p.uint32()
	}
	for ; values > 0 && !p.bad; values-- {
		if p.n++; p.n > maxProperties || !variable && size == 0 {
			p.bad = true
			break
		}
		if !variable {
			p.skip(size)
			continue
		}
		size = int64(p.uint32())
		if p.bad {
			break
		}
		data := io.NewSectionReader(p.r, p.at, min(size, p.r.Size()-p.at))
		p.skip(size)
		if err := f(id, kind, data); err != nil {
			return err
		}
	}
	return nil
}

// name passes over the name of a property that has one.
func (p *properties) name() {
	p.skip(16)
	if p.uint32() == 0 {
		p.uint32()
	} else {
		p.skip(int64(p.uint32()))
	}
}

// propertySize is how long values of a type are, and whether they say so themselves; 0 if the type
// is not known.
func propertySize(kind uint16) (size int64, variable bool) {
	switch kind {
	case 0x0001: // null
		return 4, false
	case 0x0002, 0x0003, 0x0004, 0x000a, 0x000b: // short, long, float, error, boolean
		return 4, false
	case 0x0005, 0x0006, 0x0007, 0x0014, 0x0040: // double, currency, time, long long, system time
		return 8, false
	case 0x0048: // class identifier
		return 16, false
	case typeObject, typeString8, typeUnicode, typeBinary:
		return 0, true
	}
	return 0, false
}

// fromUTF16 is text in UTF-16, little-endian, as UTF-8.
func fromUTF16(b []byte) string {
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(b[2*i:])
	}
	return string(utf16.Decode(units))
}

// A utf16Reader reads UTF-16, little-endian, as UTF-8, without the zero at its end.
type utf16Reader struct {
	r   io.Reader
	in  [2048]byte
	n   int // bytes kept in in
	out []byte
}

func (u *utf16Reader) Read(p []byte) (int, error) {
	for len(u.out) == 0 {
		k, err := io.ReadFull(u.r, u.in[u.n:])
		u.n += k
		last := err != nil
		if last && err != io.EOF && err != io.ErrUnexpectedEOF {
			return 0, err
		}
		use := u.n &^ 1
		if !last && use >= 2 && u.in[use-1]&0xfc == 0xd8 {
			use -= 2 // the first half of a pair
		}
		if use == 0 {
			return 0, io.EOF
		}
		text := fromUTF16(u.in[:use])
		if last {
			text = strings.TrimSuffix(text, "\x00")
		}
		u.out = []byte(text)
		u.n = copy(u.in[:], u.in[use:u.n])
		if last {
			u.n = 0
			if len(u.out) == 0 {
				return 0, io.EOF
			}
		}
	}
	n := copy(p, u.out)
	u.out = u.out[n:]
	return n, nil
}
