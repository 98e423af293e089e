package eml

import (
	"bytes"
	"iter"
	"strings"
)

// A Field is one header field (RFC 5322 section 2.2) as it stands in the message.
type Field struct {
	Name       string // as spelled, without blanks before the colon
	Start, End int64  // its bytes, from the start of the part's header; End is past its line break
	value      int64  // of the first byte after the colon, counted likewise
}

// Is reports whether the field has that name; case does not count (RFC 5322 section 1.2.2).
func (f Field) Is(name string) bool { return strings.EqualFold(f.Name, name) }

// A Header is the header of an entity: its raw bytes and where each field is in them.
type Header struct {
	Fields []Field
	raw    []byte // up to and not including the empty line
}

// Bytes is the header as it stands in the message, up to and not including the empty line
// that ends it. It must not be changed.
func (h *Header) Bytes() []byte { return h.raw }

// Raw is one field as it stands in the message, line break included.
func (h *Header) Raw(f Field) []byte { return h.raw[f.Start:f.End] }

// RawValue is what follows the colon, leading blank and folds included, without the final
// line break.
func (h *Header) RawValue(f Field) []byte {
	return bytes.TrimRight(h.raw[f.value:f.End], "\r\n")
}

// Value is what follows the colon, unfolded (RFC 5322 section 2.2.3) and trimmed.
func (h *Header) Value(f Field) string {
	v := h.RawValue(f)
	if bytes.IndexByte(v, '\n') >= 0 || bytes.IndexByte(v, '\r') >= 0 {
		v = unfold(v)
	}
	return string(bytes.Trim(v, " \t\r\n"))
}

func unfold(v []byte) []byte {
	out := make([]byte, 0, len(v))
	for _, c := range v {
		if c != '\r' && c != '\n' {
			out = append(out, c)
		}
	}
	return out
}

// All gives the fields of that name, in order.
func (h *Header) All(name string) iter.Seq[Field] {
	return func(yield func(Field) bool) {
		for _, f := range h.Fields {
			if f.Is(name) && !yield(f) {
				return
			}
		}
	}
}

// Get is the value of the first field of that name, unfolded; empty if there is none.
func (h *Header) Get(name string) string {
	for f := range h.All(name) {
		return h.Value(f)
	}
	return ""
}

// Text is the value of the first field of that name with its encoded words (RFC 2047)
// decoded. It may hold anything the sender wrote, line breaks included.
func (h *Header) Text(name string) string { return DecodeWords(h.Get(name)) }

// Count is the number of fields of that name.
func (h *Header) Count(name string) int {
	n := 0
	for range h.All(name) {
		n++
	}
	return n
}
