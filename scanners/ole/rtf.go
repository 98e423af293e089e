package ole

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"strings"

	"rastel/sanitize/eml"
	"rastel/scanners"
	"rastel/scanners/office"
)

// RTF opens documents in Rich Text Format (RTF 1.9.1): it yields what is embedded in them, and pictures
// that are none.
//
// Word forgives much, and those who write such documents for others to open know it: digits with
// anything between them, escapes, groups within groups. Where that may be read in several ways, each of
// them is yielded.
type RTF struct{}

const (
	rtfDamaged   = "rtf/damaged"
	rtfAmbiguous = "rtf/ambiguous"
)

// Checks are all checks that Expand may report.
func (RTF) Checks() []eml.Check {
	return append([]eml.Check{
		{ID: rtfDamaged, Doc: "An object in an RTF document is damaged, or written so that it cannot be followed, and was not examined, or not to its end."},
		{ID: rtfAmbiguous, Doc: "An object in an RTF document is written so that programs may read it in several ways, as nobody does by chance. All of them were examined."},
		damagedCheck,
	}, office.Checks(office.DDE, office.RemoteTemplate, office.External, office.Package, office.ActiveX, office.Equation, office.EquationExploit)...)
}

// Scan finds nothing: all that is to be said about a document is said by Expand.
func (RTF) Scan(context.Context, *eml.Part) ([]eml.Finding, error) { return nil, nil }

// Opens reports whether p is such a document.
func (RTF) Opens(p *eml.Part) bool { return p.Type == "rtf" }

const (
	// tokenWindow is how much is read at a time: most objects and pictures are small.
	tokenWindow = 4 << 10
	// maxGroups is how many groups within groups are told apart. Word gives up sooner.
	maxGroups = 10_000
	// maxWord is how many letters of a control word are kept. None that has a meaning is longer.
	maxWord = 32
	// maxReadings is how many times the bytes of a document may be read for all its objects, all together.
	maxReadings = 32
	// headOfPicture is how much of a picture tells what it is.
	headOfPicture = 64
	// maxCompounds is how many compound files are looked for in one object.
	maxCompounds = 16
)

// Expand yields the objects of the document.
func (RTF) Expand(ctx context.Context, p *eml.Part, b *scanners.Budget, yield func(*eml.Part) error) ([]eml.Finding, error) {
	if p.Type != "rtf" {
		return nil, nil
	}
	d := &richText{output: output{ctx: ctx, p: p, b: b, yield: yield}, src: p.Content(), left: maxReadings * p.Size}
	w := d.words(0)
	for {
		t := w.next()
		if t.kind == endOfText {
			break
		}
		if w.binBad {
			d.report(rtfDamaged, "binary data of more bytes than the document has")
			w.binBad = false
		}
		var err error
		switch dest := destinations[t.word]; {
		case t.kind != controlWord || dest == noData:
		case dest == textData:
			d.text(t.word, w.at)
		case dest == objectData:
			err = d.object(w.at)
		default:
			err = d.picture(w.at)
		}
		if err != nil {
			return d.findings, err
		}
	}
	return d.findings, w.err
}

// What is in a destination in hexadecimal digits.
const (
	noData = iota
	objectData
	pictureData
	textData // which says what is loaded, or run
)

// destinations are those whose data somebody opens.
var destinations = map[string]int{"objdata": objectData, "datastore": objectData, "pict": pictureData, "fldinst": textData, "template": textData}

// A richText is one call of Expand.
type richText struct {
	output
	src  *io.SectionReader
	left int64 // bytes that may be read for objects
}

// words reads control words from an offset on.
func (d *richText) words(at int64) *words {
	return &words{in: bufio.NewReaderSize(scanners.ContextReader(d.ctx, io.NewSectionReader(d.src, at, d.src.Size()-at)), tokenWindow), at: at, end: d.src.Size()}
}

// object yields the object whose data begins there, in all readings.
func (d *richText) object(at int64) error {
	return d.readings(at, func(s *io.SectionReader, r *hexReader) error {
		if r.cutOff {
			d.report(rtfDamaged, "an object without an end")
		}
		if s.Size() == 0 {
			return nil
		}
		return d.embedded(s)
	})
}

// picture yields the picture in the destination that begins there if it is something else.
func (d *richText) picture(at int64) error {
	if d.tooMuch() {
		return nil
	}
	head := make([]byte, headOfPicture)
	r := &hexReader{w: d.words(at), sum: sha256.New()}
	n, _ := io.ReadFull(r, head) // an error of reading comes again
	if d.left -= r.w.at - at; isPicture(head[:n]) {
		return nil
	}
	r = &hexReader{w: d.words(at), sum: sha256.New()}
	err := d.reading(r, d.piece)
	d.left -= r.w.at - at
	return err
}

// isPicture tells the pictures that RTF may have (RTF 1.9.1, Pictures) by their beginnings.
func isPicture(b []byte) bool {
	if len(b) < 4 {
		return true // nothing at all
	}
	head := string(b[:4])
	switch head {
	case "\x89PNG", "\xd7\xcd\xc6\x9a", "\x01\x00\x09\x00", "\x02\x00\x09\x00":
		return true
	case "\x01\x00\x00\x00":
		return len(b) >= 44 && string(b[40:44]) == " EMF"
	case "\x28\x00\x00\x00", "\x0c\x00\x00\x00", "\x6c\x00\x00\x00", "\x7c\x00\x00\x00":
		return true // a bitmap without the header of a file
	}
	return head[:3] == "\xff\xd8\xff"
}

// piece yields decoded data.
func (d *richText) piece(s *io.SectionReader) error {
	bad, err := d.member(nil, "", s)
	if bad != nil {
		d.report(rtfDamaged, fmt.Sprintf("an object: %v", bad))
	}
	return err
}

// embedded yields what is in an object (MS-OLEDS 2.2.5): a packed file, a compound file, or whatever
// its native data is. Of what is no such object it yields all, and each compound file in it: Word makes
// little of the header.
func (d *richText) embedded(s *io.SectionReader) error {
	class, native, whole := readObject(s)
	if !whole {
		d.report(rtfDamaged, "an object is cut off")
	}
	if native == nil {
		if err := d.piece(s); err != nil {
			return err
		}
		return d.compounds(s, 1)
	}
	if strings.HasPrefix(strings.ToLower(class), "equation") {
		d.equation(native)
	}
	var err error
	switch {
	case class != "Package" && beginsCompound(native):
		err = d.part(nil, native)
	case class != "Package":
		if err = d.compounds(native, 1); err != nil {
			return err
		}
		fallthrough
	default:
		err = d.nativeData(native, nil)
	}
	if err != nil {
		return err
	}
	_, start, _ := native.Outer()
	return d.compounds(io.NewSectionReader(s, start+native.Size(), max(s.Size()-start-native.Size(), 0)), 0)
}

func beginsCompound(s *io.SectionReader) bool {
	var b [len(magic)]byte
	n, _ := s.ReadAt(b[:], 0)
	return string(b[:n]) == magic
}

// compounds yields the compound files that begin in a piece of an object, from an offset on.
func (d *richText) compounds(s *io.SectionReader, from int64) error {
	found := 0
	return d.search(s, []byte(magic), func(at int64) error {
		if found++; at < from || found > maxCompounds {
			return nil
		}
		return d.part(nil, io.NewSectionReader(s, at, s.Size()-at))
	})
}

// maxClass is how many bytes the name of a class, and what else is in the header of an object, may have.
const maxClass = 4 << 10

// readObject takes the header of an embedded object off. Without one native is nil. It reports whether
// all is there that the header says.
func readObject(s *io.SectionReader) (class string, native *io.SectionReader, whole bool) {
	const embedded = 2
	u32 := func(at int64) (int64, bool) {
		var b [4]byte
		n, _ := s.ReadAt(b[:], at)
		return int64(binary.LittleEndian.Uint32(b[:])), n == len(b)
	}
	if format, ok := u32(4); !ok || format != embedded { // the version before it is anything
		return "", nil, true
	}
	at := int64(8)
	for i := range 3 { // class, topic, item
		n, ok := u32(at)
		if !ok || n > maxClass || n > s.Size()-at-4 {
			return "", nil, false
		}
		if i == 0 {
			b := make([]byte, max(n-1, 0))
			if k, _ := s.ReadAt(b, at+4); k < len(b) {
				return "", nil, false
			}
			class = string(b)
		}
		at += 4 + n
	}
	n, ok := u32(at)
	if !ok {
		return "", nil, false
	}
	at += 4
	return class, io.NewSectionReader(s, at, min(n, s.Size()-at)), n <= s.Size()-at
}
