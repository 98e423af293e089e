package eml

import (
	"bytes"
	"slices"
)

// otherFields are the fields of a header that do not tell about the content; those of a message
// only, as they mean nothing elsewhere.
func otherFields(h *Header, message bool) []byte {
	if !message {
		return nil
	}
	out := make([]byte, 0, len(h.raw))
	for _, f := range h.Fields {
		if !isContentField([]byte(f.Name)) && !f.Is("MIME-Version") {
			out = h.appendPlainField(out, f)
		}
	}
	return out
}

// appendPlainField appends a field whose lines end in CRLF, hold no NUL and no bare CR, and are not too
// long; nothing if its name is.
func (h *Header) appendPlainField(out []byte, f Field) []byte {
	if len(f.Name) > maxPlainLine/2 {
		return out
	}
	value := h.raw[f.value:f.End]
	raw := append(make([]byte, 0, len(f.Name)+1+len(value)), f.Name...)
	raw = append(append(raw, ':'), value...)
	if bytes.IndexByte(raw, 0) >= 0 {
		raw = bytes.ReplaceAll(raw, []byte{0}, nil)
	}
	out = slices.Grow(out, len(raw)+len("\r\n "))
	start := len(out)
	add := func(fold string, line []byte) {
		if len(out) == start || len(bytes.TrimSpace(line)) > 0 { // else some take it for the end of the header
			out = append(append(append(out, fold...), line...), "\r\n"...)
		}
	}
	for line := range bytes.Lines(raw) {
		line = bytes.TrimRight(line, "\r\n")
		for i, c := range line {
			if c == '\r' {
				line[i] = ' '
			}
		}
		room, fold := maxPlainLine, ""
		for len(line) > room {
			add(fold, line[:room-1])
			line = line[room-1:]
			room, fold = maxPlainLine-1, " "
		}
		add(fold, line)
	}
	return out
}
