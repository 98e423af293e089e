package pdf

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"hash/adler32"
	"io"
	"math/bits"
	"slices"
	"sort"
	"strings"

	"rastel/sanitize/eml"
)

// What a document does is taken out of it in place: names such as /JavaScript become names of the same
// length that no reader knows, so every offset stays right, whether the tables of the document are or not.
// Where the names are in an object stream, that is compressed anew into the bytes that it has. All
// revisions are changed alike.

// maxRewritten is how many bytes all object streams have that are compressed anew.
const maxRewritten = 32 << 20

// An objectStream is where the text of one is, and the object it comes from.
type objectStream struct {
	start, size int64 // in the text of all
	e           entry
	filters     []filter
	method      method
}

// tellDeeds tells what was seen of what the document does. With whole all of it was looked at, so it can be
// told how to take it out.
func (o *opening) tellDeeds(whole bool) error {
	var err error
	fixes := map[string][]eml.Edit{}
	if whole {
		fixes, err = o.fixes()
	}
	for _, check := range doChecks {
		d := o.deeds[check]
		if d == nil {
			continue
		}
		detail := strings.Join(d.places, "; ")
		if d.more > 0 {
			detail += fmt.Sprintf("; and %d more", d.more)
		}
		if d.stuck != "" {
			detail += " (cannot be taken out: " + d.stuck + ")"
		}
		o.findings = append(o.findings, eml.Finding{Check: check, Part: o.p, Detail: detail, Fix: fixes[check]})
	}
	return err
}

// fixes are the edits that take out what each check has seen. A check without any cannot be fixed.
func (o *opening) fixes() (map[string][]eml.Edit, error) {
	out := map[string][]eml.Edit{}
	if len(o.deeds) == 0 || o.unchangeable() {
		return out, nil
	}
	edits, err := o.edits()
	if err != nil {
		return out, err
	}
	for check, d := range o.deeds {
		if len(d.marks) == 0 || d.stuck != "" {
			continue
		}
		seen := map[int64]bool{}
		var list []eml.Edit
		for m := range d.marks {
			e := edits[m]
			if e.Text == nil {
				d.stuck = "it is where nothing can be changed in place"
				break
			}
			if !seen[e.Start] {
				seen[e.Start] = true
				list = append(list, e)
			}
		}
		if d.stuck == "" {
			slices.SortFunc(list, func(a, b eml.Edit) int { return int(max(min(a.Start-b.Start, 1), -1)) })
			out[check] = list
		}
	}
	return out, nil
}

// unchangeable reports whether the document must stay as it is, and notes why.
func (o *opening) unchangeable() bool {
	why := ""
	if o.d.sealed {
		why = "the document is signed"
	}
	for i := range o.d.entries {
		if e := &o.d.entries[i]; e.has(isSignature) && !e.has(isHidden) {
			why = "the document is signed"
		}
	}
	for _, d := range o.deeds {
		if d.stuck == "" {
			d.stuck = why
		}
	}
	return why != ""
}

// edits are those of all marks. One that cannot be changed has none.
func (o *opening) edits() (map[mark]eml.Edit, error) {
	rename := map[mark]bool{} // or written out, if it is only in disguise
	for check, d := range o.deeds {
		for m := range d.marks {
			rename[m] = rename[m] || check != nameDisguise
		}
	}
	out := make(map[mark]eml.Edit, len(rename))
	inStreams := map[int][]mark{}
	for m, away := range rename {
		if m.inTexts {
			if i := o.streamOf(m.off); i >= 0 {
				inStreams[i] = append(inStreams[i], m)
			}
			continue
		}
		name := o.d.file.newName(m.off, away)
		out[m] = eml.Edit{Part: o.p, Region: eml.InContent, Start: m.off + 1, End: m.off + 1 + int64(len(name)), Text: name}
	}
	left := int64(maxRewritten)
	for i, list := range inStreams {
		s := &o.objStreams[i]
		if left -= s.size; left < 0 {
			break
		}
		edit, err := o.rewrite(s, list, rename)
		if err != nil {
			return nil, err
		}
		if edit.Text == nil {
			continue
		}
		for m := range out { // what is in the bytes that are written anew is not there any more
			if !m.inTexts && m.off >= edit.Start && m.off < edit.End {
				delete(out, m)
			}
		}
		for _, m := range list {
			out[m] = edit
		}
	}
	return out, o.d.file.err
}

// newName is what a name becomes, without its slash: one that nobody knows, or itself written plainly. It
// has as many bytes as there are.
func (c *cursor) newName(off int64, away bool) []byte {
	raw := len(c.rawName(off)) - 1
	c.seek(off + 1)
	var name []byte
	c.name(&name, maxRaw)
	name = name[:min(len(name), raw)]
	fill := byte(' ')
	if away && len(name) > 0 {
		name[len(name)-1], fill = '_', '_'
	}
	return append(name, bytes.Repeat([]byte{fill}, raw-len(name))...)
}

// streamOf is the index of the object stream with that offset of the text of all; -1 if there is none.
func (o *opening) streamOf(off int64) int {
	i := sort.Search(len(o.objStreams), func(i int) bool { return o.objStreams[i].start > off }) - 1
	if i < 0 || off >= o.objStreams[i].start+o.objStreams[i].size {
		return -1
	}
	return i
}

// rewrite gives the edit that changes names in an object stream; one without text if it has not the room
// for what comes of it.
func (o *opening) rewrite(s *objectStream, list []mark, rename map[mark]bool) (eml.Edit, error) {
	plain := len(s.filters) == 0
	flate := len(s.filters) == 1 && (s.filters[0].name == "FlateDecode" || s.filters[0].name == "Fl") && s.filters[0].parms.predictor <= 1
	if !plain && !flate || s.e.has(withoutData) {
		return eml.Edit{}, nil
	}
	text := make([]byte, s.size)
	if _, err := o.d.texts.r.ReadAt(text, s.start); err != nil && err != io.EOF {
		return eml.Edit{}, err
	}
	for _, m := range list {
		if rename[m] {
			o.blank(text, s, m)
		}
	}
	for _, m := range list {
		if text[m.off-s.start] == '/' {
			copy(text[m.off-s.start+1:], o.d.texts.newName(m.off, rename[m]))
		}
	}
	if flate {
		text = deflate(text)
	}
	room := s.e.end - s.e.data
	if text = o.lock.seal(text, s, room); int64(len(text)) > room {
		return eml.Edit{}, nil
	}
	filled := make([]byte, room) // with zeros behind the end of what is compressed
	copy(filled, text)
	return eml.Edit{Part: o.p, Region: eml.InContent, Start: s.e.data, End: s.e.end, Text: filled}, nil
}

// blank fills a key and its value with blanks, so that what is compressed does not become longer.
func (o *opening) blank(text []byte, s *objectStream, m mark) {
	c := o.d.texts
	c.seek(m.off)
	var word []byte
	if t := c.token(&word, maxKeyword); t.kind != tokenName || !slices.Contains(blanked, string(word)) || !c.skipValue(s.start+s.size) {
		return
	}
	for at := m.off; at < c.off(); at++ {
		text[at-s.start] = ' '
	}
}

// blanked are the keys that go with their values. Other names are values themselves.
var blanked = []string{"JS", "OnInstantiate", "OpenAction", "AA", "URI", "XFA", "F", "Win", "Mac", "Unix"}

// skipValue goes behind the value that comes next. It reports false if there is none before an offset.
func (c *cursor) skipValue(end int64) bool {
	var word []byte
	for depth := 0; ; {
		switch t := c.token(&word, maxKeyword); t.kind {
		case tokenArray, tokenDict:
			depth++
		case tokenArrayEnd, tokenDictEnd:
			depth--
		case tokenInt:
			c.skipReference(end)
		case tokenEnd:
			return false
		}
		if word = word[:0]; depth <= 0 || c.off() > end {
			return depth == 0 && c.off() <= end
		}
	}
}

// skipReference goes behind what makes a number a reference, if that comes next.
func (c *cursor) skipReference(end int64) {
	at := c.off()
	var word []byte
	if c.token(&word, maxKeyword).kind == tokenInt && c.token(&word, maxKeyword).kind == tokenKeyword && string(word) == "R" && c.off() <= end {
		return
	}
	c.seek(at)
}

// deflate compresses (RFC 1950). It is as short as can be.
func deflate(text []byte) []byte {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err == nil {
		_, err = w.Write(text)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		panic(err) // of a buffer, or of the level
	}
	out := append([]byte{0x78, 0xda}, shortEnd(b.Bytes())...)
	return binary.BigEndian.AppendUint32(out, adler32.Checksum(text))
}

// shortEnd makes the last block of what package flate has written, which is stored and empty, one of the
// same kind with fixed codes: it takes 10 bits instead of 35 and more (RFC 1951, 3.2.4 and 3.2.6).
func shortEnd(b []byte) []byte {
	body, ok := bytes.CutSuffix(b, []byte("\x00\x00\xff\xff"))
	if !ok {
		return b
	}
	at := len(body) - 1 // the last bit that is set says that the block is the last one
	for at >= 0 && body[at] == 0 {
		at--
	}
	if at < 0 {
		return b
	}
	bit := 8*at + bits.Len8(body[at]) - 1
	out := append(slices.Clone(body[:at+1]), 0, 0)
	out[(bit+1)/8] |= 1 << ((bit + 1) % 8) // of the two bits of its kind the lower one; the rest is zeros
	return out[:(bit+10+7)/8]
}
