package eml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
)

// ErrOverlap is returned, wrapped, by NewPatch for edits that cut into each other: nobody can
// say what was meant.
var ErrOverlap = errors.New("edits overlap")

// A Patch is edits lowered to cuts in the raw message. Bytes outside the cuts come out as
// they went in. It reads from the spool of the message, and from nothing else.
type Patch struct {
	m      *Message
	edits  []Edit
	anew   []*Part
	cuts   []cut // in order, not overlapping
	header int   // how many of them are in the message's own header
	fields []FieldEdit
}

// A cut replaces the raw bytes [start, end) by text, or by what encode writes.
type cut struct {
	start, end int64
	text       []byte
	encode     func(io.Writer) error
}

// NewPatch lowers edits. Edits that are the same, or lie within another, count once; it is an
// error if two overlap otherwise, concern a member, or do not fit their part. The entities in
// anew are written in the one form that all clients read alike.
func NewPatch(m *Message, edits []Edit, anew ...*Part) (*Patch, error) {
	p := &Patch{m: m, edits: slices.Clone(edits), anew: slices.Clone(anew)}
	all := make(map[*Part]bool, len(anew))
	for _, part := range anew {
		all[part] = true
	}
	content := map[*Part][]Edit{}
	for i := range p.edits {
		if err := p.edits[i].check(); err != nil {
			return nil, err
		}
	}
	if err := p.addLong(all); err != nil {
		return nil, err
	}
	for i := range p.edits {
		e := &p.edits[i]
		switch {
		case within(e.Part, all) && (e.Part.Parent != nil || e.Region != InHeader):
			// carried out by the writer of what is written anew
		case e.Region == InHeader && bytes.Equal(e.Text, e.Part.Header.raw[e.Start:e.End]):
			// such as a name that is given again: the entity stays as it is, byte for byte
		case e.Region == InHeader && within(e.Part, all):
			if rest := withoutContent(*e); len(rest.Text) > 0 || rest.Start < rest.End {
				p.cuts = append(p.cuts, headerCut(rest))
			}
		case e.Region == InHeader:
			p.cuts = append(p.cuts, headerCut(*e))
		case e.Region == InBody || e.Part.Encoding == Identity:
			p.cuts = append(p.cuts, bodyCut(*e))
		default:
			content[e.Part] = append(content[e.Part], *e)
		}
	}
	for part, list := range content {
		cuts, err := contentCuts(part, list)
		if err != nil {
			return nil, err
		}
		p.cuts = append(p.cuts, cuts...)
	}
	if err := p.writeAnew(all); err != nil {
		return nil, err
	}
	var err error
	if p.cuts, err = settle(p.cuts); err != nil {
		return nil, err
	}
	return p, p.settleOwn()
}

// settleOwn tells the cuts in the message's own header from those behind it, and makes edits of
// fields of them.
func (p *Patch) settleOwn() error {
	root, n := p.m.Root, 0
	for n < len(p.cuts) && p.cuts[n].start < root.body && p.cuts[n].end <= root.headerEnd() {
		n++
	}
	own, fields, err := settleFields(root, p.cuts[:n])
	if err != nil {
		return err
	}
	p.cuts, p.header, p.fields = append(own, p.cuts[n:]...), len(own), fields
	return nil
}

// With makes a patch of the same and more edits; of those alone if p is nil.
func (p *Patch) With(m *Message, more ...Edit) (*Patch, error) {
	if p == nil {
		return NewPatch(m, more)
	}
	return NewPatch(m, slices.Concat(p.edits, more), p.anew...)
}

// writeAnew adds the cuts of entities that are written anew, of those that lie in no other.
func (p *Patch) writeAnew(all map[*Part]bool) error {
	if len(p.anew) == 0 {
		return nil
	}
	a := newAnewWriter(p.m, p.edits)
	var list []cut
	for _, part := range p.anew {
		if part.member {
			return fmt.Errorf("write part %s anew: it is no entity of the message", part.ID)
		}
		if within(part.Parent, all) {
			continue
		}
		cuts, err := a.cuts(part)
		if err != nil {
			return err
		}
		list = append(list, cuts...)
	}
	p.cuts = append(list, p.cuts...) // before edits of the same fields, which they hold
	return nil
}

// addLong adds to what is written anew the leaves with edited content that would have lines which
// an MTA breaks: where it does is another place after the edit, so nobody has examined what would
// arrive. It adds those that hold NUL or a lone CR too: what is edited is ours to answer for.
func (p *Patch) addLong(all map[*Part]bool) error {
	var a *anewWriter
	done := map[*Part]bool{}
	for _, e := range p.edits {
		if e.Region != InContent || done[e.Part] || within(e.Part, all) {
			continue
		}
		done[e.Part] = true
		long := e.Part.long
		if e.Part.Encoding == Identity {
			if a == nil {
				a = newAnewWriter(p.m, p.edits)
			}
			var err error
			if long, err = a.mustBeEncoded(e.Part); err != nil {
				return err
			}
		}
		if long {
			all[e.Part] = true
			p.anew = append(p.anew, e.Part)
		}
	}
	return nil
}

// within reports whether the part is one of the set or lies in one.
func within(p *Part, set map[*Part]bool) bool {
	for ; p != nil; p = p.Parent {
		if set[p] {
			return true
		}
	}
	return false
}

// check reports whether the edit fits its part, and resolves an End of -1.
func (e *Edit) check() error {
	p := e.Part
	if p == nil || p.member {
		return errors.New("edit of a part that is no entity of the message")
	}
	size := p.end - p.body
	switch e.Region {
	case InHeader:
		size = int64(len(p.Header.raw))
	case InContent:
		if !p.leaf {
			return fmt.Errorf("edit of the content of part %s, which has none", p.ID)
		}
		size = p.Size
	}
	if e.End == -1 {
		e.End = size
	}
	if e.Start < 0 || e.Start > e.End || e.End > size {
		return fmt.Errorf("edit [%d,%d) outside part %s of %d bytes", e.Start, e.End, p.ID, size)
	}
	if e.Write != nil && (e.Region != InBody || e.Start != 0 || e.End != size) {
		return fmt.Errorf("edit [%d,%d) of part %s writes what is not a whole body", e.Start, e.End, p.ID)
	}
	if e.Region == InHeader {
		return e.checkFields()
	}
	return nil
}

// checkFields reports whether the edit replaces whole fields by whole fields: anything else could
// end the header, or give it a field that nobody meant.
func (e *Edit) checkFields() error {
	h := &e.Part.Header
	if bytes.Equal(e.Text, h.raw[e.Start:e.End]) {
		return nil
	}
	if bytes.HasPrefix(e.Text, []byte("\r\n")) {
		return fmt.Errorf("edit of the header of part %s begins with an empty line", e.Part.ID)
	}
	if _, err := parseFields(e.Text); err != nil {
		return err
	}
	_, _, err := h.covered(e.Start, e.End)
	return err
}

func headerCut(e Edit) cut {
	raw := e.Part.Header.raw
	text := e.Text
	if e.Start == int64(len(raw)) && len(raw) > 0 && raw[len(raw)-1] != '\n' && len(text) > 0 {
		text = append([]byte("\r\n"), text...) // the message ended within its header
	}
	return cut{start: e.Part.start + e.Start, end: e.Part.start + e.End, text: text}
}

func bodyCut(e Edit) cut {
	return cut{start: e.Part.body + e.Start, end: e.Part.body + e.End, text: e.Text, encode: e.Write}
}

// withoutContent is an edit of the message's header without the fields that are written anew.
func withoutContent(e Edit) Edit {
	h := headerOf(e.Text)
	e.Text = nil
	for _, f := range h.Fields {
		if !isContentField([]byte(f.Name)) && !f.Is("MIME-Version") {
			e.Text = append(e.Text, h.Raw(f)...)
		}
	}
	return e
}

// settle sorts cuts, drops those that lie within another, and refuses overlaps.
func settle(cuts []cut) ([]cut, error) {
	slices.SortStableFunc(cuts, func(a, b cut) int {
		switch {
		case a.start != b.start:
			return sign(a.start - b.start)
		case (a.start == a.end) != (b.start == b.end): // an insertion comes before a cut at its place
			if a.start == a.end {
				return -1
			}
			return 1
		case a.end != b.end:
			return sign(b.end - a.end)
		case (a.encode == nil) != (b.encode == nil): // a replacement wins over changing what it replaces
			if a.encode == nil {
				return -1
			}
			return 1
		}
		return 0
	})
	out := cuts[:0]
	for _, c := range cuts {
		last := len(out) - 1
		switch {
		case last < 0 || c.start >= out[last].end && !c.repeats(out[last]):
			out = append(out, c)
		case c.end > out[last].end:
			return nil, fmt.Errorf("%w at byte %d of the message", ErrOverlap, c.start)
		}
	}
	return out, nil
}

func (c cut) repeats(d cut) bool {
	return c.start == d.start && c.end == d.end && string(c.text) == string(d.text)
}

func sign(n int64) int {
	if n < 0 {
		return -1
	}
	return 1
}

// Empty reports whether the patch changes nothing. A nil Patch is empty.
func (p *Patch) Empty() bool { return p == nil || len(p.cuts) == 0 }

// Edits are what the patch was made of.
func (p *Patch) Edits() []Edit {
	if p == nil {
		return nil
	}
	return p.edits
}

// Fields are the changes of the message's own header, in an order in which each can be
// carried out without moving the index of those that follow.
func (p *Patch) Fields() []FieldEdit {
	if p == nil {
		return nil
	}
	return p.fields
}

// Body is all that follows the header, changed; nil if the body is untouched.
func (p *Patch) Body() io.WriterTo {
	if p == nil {
		return nil
	}
	cuts := p.cuts[p.header:]
	for len(cuts) > 0 && cuts[0].start < p.m.Root.body {
		cuts = cuts[1:] // mends the empty line, which the MTA writes itself
	}
	if len(cuts) == 0 {
		return nil
	}
	return patchRange{p.m, cuts, p.m.Root.body}
}

// WriteTo writes the whole changed message, header and body.
func (p *Patch) WriteTo(w io.Writer) (int64, error) {
	return patchRange{p.m, p.cuts, 0}.WriteTo(w)
}

// A patchRange is the raw message from a byte on, with cuts.
type patchRange struct {
	m    *Message
	cuts []cut
	from int64
}

// WriteTo writes it.
func (r patchRange) WriteTo(w io.Writer) (int64, error) {
	cw := &countWriter{w: w}
	at := r.from
	for _, c := range r.cuts {
		if err := r.copy(cw, at, c.start); err != nil {
			return cw.n, err
		}
		if c.encode != nil {
			if err := c.encode(cw); err != nil {
				return cw.n, err
			}
		} else if _, err := cw.Write(c.text); err != nil {
			return cw.n, err
		}
		at = c.end
	}
	err := r.copy(cw, at, r.m.Size)
	return cw.n, err
}

func (r patchRange) copy(w io.Writer, from, to int64) error {
	buf := getBuffer()
	defer putBuffer(buf)
	for from < to {
		b := buf.in[:min(int64(len(buf.in)), to-from)]
		if n, err := r.m.Spool.ReadAt(b, from); n < len(b) {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
		from += int64(len(b))
	}
	return nil
}

type countWriter struct {
	w io.Writer
	n int64
}

func (c *countWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
