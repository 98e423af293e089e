package eml

import (
	"bytes"
	"fmt"
	"slices"
	"sort"
	"strings"
)

// A FieldOp is what a FieldEdit does.
type FieldOp uint8

const (
	ChangeField FieldOp = iota // give the Index-th field of that Name another value
	DeleteField                // remove the Index-th field of that Name
	InsertField                // put a new field before all others
	AppendField                // put a new field behind all others
)

// A FieldEdit changes one field of the message's own header, in the terms of a milter.
type FieldEdit struct {
	Op FieldOp
	// Index counts from 1 among the fields of that name for ChangeField and DeleteField, as
	// the message came in; 0 for the others.
	Index int
	Name  string // as spelled in the message for ChangeField and DeleteField
	// Value is what follows the colon: it starts with the blank, if any, folds are CRLF and
	// a blank, and it has no final line break.
	Value string
}

// ownHeader carries out cuts in the message's own header field by field, as an MTA does.
type ownHeader struct {
	root    *Part
	h       *Header
	gone    []bool       // fields that a cut covers
	changed []*FieldEdit // what becomes of them; nil if nothing does
	cuts    []cut        // of the header as it will be
	top     []FieldEdit  // new, before all others
	end     []FieldEdit  // new, behind all others
	open    bool         // the message ends within its header, in a line that stays
}

// settleFields makes of cuts in the message's own header those that an MTA can carry out exactly,
// and says them in its terms: first changes and deletions from the last field to the first, then
// what goes to the top, then what is appended. A field that comes for one of the same name takes
// its place, and the spelling of its name. Any other new one goes behind all others, unless it was
// meant for the top: in between, Sendmail counts fields of its own that it may never write.
func settleFields(root *Part, cuts []cut) ([]cut, []FieldEdit, error) {
	n := len(root.Header.Fields)
	o := &ownHeader{root: root, h: &root.Header, gone: make([]bool, n), changed: make([]*FieldEdit, n)}
	o.open = len(o.h.raw) > 0 && o.h.raw[len(o.h.raw)-1] != '\n'
	var rest []FieldEdit
	for _, c := range cuts {
		left, err := o.cover(c)
		if err != nil {
			return nil, nil, err
		}
		rest = append(rest, left...)
	}
	o.end = append(o.match(rest, 0, n), o.end...)
	edits := o.edits()
	cuts, err := settle(o.cuts)
	return cuts, edits, err
}

// cover notes which fields a cut takes away, and gives those that it brings and that take the
// place of none of them.
func (o *ownHeader) cover(c cut) ([]FieldEdit, error) {
	from, to := c.start-o.root.start, c.end-o.root.start
	first, last, err := o.h.covered(from, to)
	if err != nil {
		return nil, err
	}
	fresh, err := parseFields(c.text)
	if err != nil {
		return nil, err
	}
	at := from // what is before it is a field, or cut
	for i := first; i < last; i++ {
		o.gone[i] = true
		o.cutJunk(at, o.h.Fields[i].Start)
		at = o.h.Fields[i].End
	}
	o.cutJunk(at, to)
	if from == to && to == 0 && len(o.h.Fields) > 0 && len(fresh) > 0 {
		o.cuts = append(o.cuts, c)
		o.top = append(o.top, fresh...)
		return nil, nil
	}
	return o.match(fresh, first, last), nil
}

// cutJunk takes away lines that are no field; the MTA knows of none.
func (o *ownHeader) cutJunk(from, to int64) {
	if from < to {
		o.cut(from, to, nil)
	}
}

// cut replaces bytes of the header.
func (o *ownHeader) cut(from, to int64, text []byte) {
	if from < to && to == int64(len(o.h.raw)) {
		o.open = false
	}
	o.cuts = append(o.cuts, cut{start: o.root.start + from, end: o.root.start + to, text: text})
}

// match puts new fields in the place of those of the same name that are taken away, of the fields
// [first, last). It gives those for which there is none.
func (o *ownHeader) match(fresh []FieldEdit, first, last int) (rest []FieldEdit) {
	if len(fresh) == 0 {
		return nil
	}
	free := map[string][]int{} // by name, those that nothing has come for
	for i := first; i < last; i++ {
		if o.gone[i] && o.changed[i] == nil {
			name := strings.ToLower(o.h.Fields[i].Name)
			free[name] = append(free[name], i)
		}
	}
	for _, f := range fresh {
		name := strings.ToLower(f.Name)
		if len(free[name]) == 0 {
			rest = append(rest, f)
			continue
		}
		i := free[name][0]
		free[name] = free[name][1:]
		o.changed[i] = &FieldEdit{Op: ChangeField, Name: o.h.Fields[i].Name, Value: f.Value}
	}
	return rest
}

// edits are the changes in the terms of a milter; it adds the cuts that come to the same.
func (o *ownHeader) edits() []FieldEdit {
	var out []FieldEdit
	nth := o.h.counted()
	for i := len(o.h.Fields) - 1; i >= 0; i-- {
		f := o.h.Fields[i]
		if !o.gone[i] {
			continue
		}
		e, text := FieldEdit{Op: DeleteField, Name: f.Name}, []byte(nil)
		if o.changed[i] != nil {
			e, text = *o.changed[i], o.changed[i].line()
		}
		if bytes.Equal(text, o.h.Raw(f)) {
			continue
		}
		e.Index = nth[i]
		out = append(out, e)
		o.cut(f.Start, f.End, text)
	}
	for _, f := range slices.Backward(o.top) {
		out = append(out, FieldEdit{Op: InsertField, Name: f.Name, Value: f.Value})
	}
	var text []byte
	if o.open {
		text = []byte("\r\n")
	}
	for _, f := range o.end {
		text = append(text, f.line()...)
		out = append(out, FieldEdit{Op: AppendField, Name: f.Name, Value: f.Value})
	}
	if end := int64(len(o.h.raw)); len(o.end) > 0 {
		o.cut(end, end, text)
	}
	return out
}

// line is the field as it stands in a message.
func (e *FieldEdit) line() []byte { return []byte(e.Name + ":" + e.Value + "\r\n") }

// covered gives the fields [first, last) that the bytes [start, end) of the header consist of.
func (h *Header) covered(start, end int64) (first, last int, err error) {
	first = sort.Search(len(h.Fields), func(i int) bool { return h.Fields[i].Start >= start })
	behind := sort.Search(len(h.Fields), func(i int) bool { return h.Fields[i].Start >= end })
	before := sort.Search(len(h.Fields), func(i int) bool { return h.Fields[i].End > start })
	if start < end && before >= behind {
		return first, first, nil // lines that are no field: the MTA knows of none
	}
	last = max(first, sort.Search(len(h.Fields), func(i int) bool { return h.Fields[i].End > end }))
	okStart := start == int64(len(h.raw)) || first < len(h.Fields) && h.Fields[first].Start == start
	okEnd := start == end || last > first && h.Fields[last-1].End == end
	if !okStart || !okEnd {
		return 0, 0, fmt.Errorf("edit [%d,%d) of the header does not cover whole fields", start, end)
	}
	return first, last, nil
}

// counted tells of each field the how many-th it is of those of its name, from 1.
func (h *Header) counted() []int {
	nth := make([]int, len(h.Fields))
	seen := make(map[string]int, len(h.Fields))
	for i, f := range h.Fields {
		name := strings.ToLower(f.Name)
		seen[name]++
		nth[i] = seen[name]
	}
	return nth
}

// parseFields takes the text of an edit apart into fields.
func parseFields(text []byte) ([]FieldEdit, error) {
	var out []FieldEdit
	value := make([]byte, 0, len(text)) // of the last one
	for line := range bytes.Lines(bytes.TrimPrefix(text, []byte("\r\n"))) {
		if !bytes.HasSuffix(line, []byte("\r\n")) {
			return nil, fmt.Errorf("new header line %.60q does not end in CRLF", line)
		}
		line = line[:len(line)-2]
		if bytes.ContainsAny(line, "\r\x00") {
			return nil, fmt.Errorf("new header line %.60q holds a bare CR or NUL", line)
		}
		if len(out) > 0 && len(line) > 0 && (line[0] == ' ' || line[0] == '\t') {
			value = append(append(value, "\r\n"...), line...)
			continue
		}
		name, rest, ok := bytes.Cut(line, []byte(":"))
		if !ok || !isFieldName(name) {
			return nil, fmt.Errorf("new header line %.60q is no field", line)
		}
		setLast(out, value)
		value = append(value[:0], rest...)
		out = append(out, FieldEdit{Name: string(name)})
	}
	setLast(out, value)
	return out, nil
}

// setLast gives the last field its value.
func setLast(list []FieldEdit, value []byte) {
	if n := len(list); n > 0 {
		list[n-1].Value = string(value)
	}
}
