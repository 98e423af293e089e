package eml

import (
	"bytes"
	"fmt"
	"slices"
)

// A FieldOp is what a FieldEdit does.
type FieldOp uint8

const (
	ChangeField FieldOp = iota // give the Index-th field of that Name another value
	DeleteField                // remove the Index-th field of that Name
	InsertField                // put a new field before the Index-th field of the header
	AppendField                // put a new field behind all others
)

// A FieldEdit changes one field of the message's own header, in the terms of a milter.
type FieldEdit struct {
	Op FieldOp
	// Index counts from 1 among the fields of that name for ChangeField and DeleteField, as
	// the message came in; for InsertField from 0 among all fields that are left then.
	Index int
	Name  string // as spelled in the message for ChangeField and DeleteField
	// Value is what follows the colon: it starts with the blank, if any, folds are CRLF and
	// a blank, and it has no final line break.
	Value string
}

// fieldEdits turns cuts in the message's own header into changes of fields: first changes and
// deletions from the last field to the first, then insertions likewise, then what is appended.
func fieldEdits(root *Part, cuts []cut) ([]FieldEdit, error) {
	var changes, inserts, appends []FieldEdit
	h := &root.Header
	deleted := 0
	for _, c := range cuts {
		first, last, err := h.covered(c.start-root.start, c.end-root.start)
		if err != nil {
			return nil, err
		}
		fresh, err := parseFields(c.text)
		if err != nil {
			return nil, err
		}
		for i := first; i < last; i++ {
			e := FieldEdit{Op: DeleteField, Name: h.Fields[i].Name, Index: h.nth(i)}
			if len(fresh) > 0 && h.Fields[i].Is(fresh[0].Name) {
				e.Op, e.Value, fresh = ChangeField, fresh[0].Value, fresh[1:]
			} else {
				deleted++
			}
			changes = append(changes, e)
		}
		for _, f := range fresh {
			f.Op, f.Index = InsertField, last-deleted
			if last == len(h.Fields) {
				f.Op, f.Index = AppendField, 0
				appends = append(appends, f)
			} else {
				inserts = append(inserts, f)
			}
		}
	}
	slices.Reverse(changes)
	slices.Reverse(inserts) // of several at one place the last goes in first
	return append(append(changes, inserts...), appends...), nil
}

// touched reports whether some field has bytes in [start, end).
func (h *Header) touched(start, end int64) bool {
	return slices.ContainsFunc(h.Fields, func(f Field) bool { return f.Start < end && start < f.End })
}

// covered gives the fields [first, last) that the bytes [start, end) of the header consist of.
func (h *Header) covered(start, end int64) (first, last int, err error) {
	for first < len(h.Fields) && h.Fields[first].Start < start {
		first++
	}
	last = first
	if start < end && !h.touched(start, end) {
		return first, last, nil // lines that are no field: the MTA knows of none
	}
	for last < len(h.Fields) && h.Fields[last].End <= end {
		last++
	}
	okStart := start == int64(len(h.raw)) || first < len(h.Fields) && h.Fields[first].Start == start
	okEnd := start == end || last > first && h.Fields[last-1].End == end
	if !okStart || !okEnd {
		return 0, 0, fmt.Errorf("edit [%d,%d) of the header does not cover whole fields", start, end)
	}
	return first, last, nil
}

// nth counts the i-th field among those of its name, from 1.
func (h *Header) nth(i int) int {
	n := 0
	for k := range i + 1 {
		if h.Fields[k].Is(h.Fields[i].Name) {
			n++
		}
	}
	return n
}

// parseFields takes the text of an edit apart into fields.
func parseFields(text []byte) ([]FieldEdit, error) {
	var out []FieldEdit
	for line := range bytes.Lines(bytes.TrimPrefix(text, []byte("\r\n"))) {
		if !bytes.HasSuffix(line, []byte("\r\n")) {
			return nil, fmt.Errorf("new header line %.60q does not end in CRLF", line)
		}
		line = line[:len(line)-2]
		if len(out) > 0 && len(line) > 0 && (line[0] == ' ' || line[0] == '\t') {
			out[len(out)-1].Value += "\r\n" + string(line)
			continue
		}
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok || !isFieldName(name) || bytes.ContainsAny(value, "\r\n\x00") {
			return nil, fmt.Errorf("new header line %.60q is no field", line)
		}
		out = append(out, FieldEdit{Name: string(name), Value: string(value)})
	}
	return out, nil
}
