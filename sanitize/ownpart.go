package sanitize

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"rastel/sanitize/eml"
)

// putOwnPart gives a message a text of its own with all the banners and the notice, as its first part:
// within multipart/mixed, or around whatever else the message is. The banners are in it too, for it is
// the text in which they are looked for when the message comes again. All that the message consists of
// stays as it is. It reports true if that is not possible.
func putOwnPart(root *eml.Part, list []shownBanner, anew bool, edits []eml.Edit) (all []eml.Edit, untold bool, err error) {
	var text string
	for _, told := range []bool{false, true} {
		for _, b := range list {
			if len(b.Renamed) > 0 != told {
				continue
			}
			for _, s := range b.texts {
				text += plainBanner(s)
			}
		}
	}
	c := encodeText("text/plain", strings.TrimSuffix(text, "\n"))
	if anew || endsInHeader(root) {
		return edits, true, nil
	}
	if more, ok := putFirst(root, c, edits); ok {
		return more, false, nil
	}
	return wrapMessage(root, c, edits)
}

// maxDelimiterLine is how long a delimiter between parts may be that is repeated.
const maxDelimiterLine = 200

// putFirst puts an entity before the first part of a message that is multipart/mixed.
func putFirst(root *eml.Part, c content, edits []eml.Edit) ([]eml.Edit, bool) {
	if root.MediaType != "multipart/mixed" || len(root.Children) == 0 {
		return nil, false
	}
	first := root.Children[0]
	if first.Member() || first.Reading != "" {
		return nil, false
	}
	src, body, _ := root.RawBody().Outer()
	same, start, _ := first.Raw().Outer()
	at := start - body
	if src != same || at <= 0 {
		return nil, false
	}
	before := make([]byte, min(at, maxDelimiterLine))
	if n, _ := root.RawBody().ReadAt(before, at-int64(len(before))); n < len(before) {
		return nil, false
	}
	line, ok := bytes.CutSuffix(before, []byte("\r\n"))
	if i := bytes.LastIndexByte(line, '\n'); i >= 0 {
		line = line[i+1:]
	} else if int64(len(before)) < at {
		return nil, false
	}
	if !ok || !bytes.HasPrefix(line, []byte("--")) || bytes.ContainsAny(line, "\r\x00") {
		return nil, false
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\r\n%s\r\n%s\r\n", c.fields, c.body, line)
	e := eml.Edit{Part: root, Region: eml.InBody, Start: at, End: at, Text: b.Bytes()}
	return append([]eml.Edit{e}, edits...), true // before a field that the first part may get there
}

// wrapMessage makes a message multipart/mixed, of an entity and what it was. Its Content fields go to
// that one.
func wrapMessage(root *eml.Part, c content, edits []eml.Edit) (all []eml.Edit, untold bool, err error) {
	w := wrapping{root: root}
	for _, e := range edits {
		if !w.take(e) {
			return edits, true, nil
		}
	}
	w.settle()
	boundary := noticeBoundary(root)
	inner := w.fields()
	var head, tail bytes.Buffer
	fmt.Fprintf(&head, "--%s\r\n%s\r\n%s\r\n--%s\r\n", boundary, c.fields, c.body, boundary)
	fmt.Fprintf(&tail, "\r\n--%s--\r\n", boundary)
	if len(w.content) > 0 {
		body, ok, err := w.encoded()
		if !ok || err != nil {
			return edits, !ok, err
		}
		head.Write(withoutField(inner, "Content-Transfer-Encoding"))
		head.WriteString("Content-Transfer-Encoding: base64\r\n\r\n")
		w.out = append(w.out, eml.Edit{Part: root, Region: eml.InBody, Start: 0, End: -1, Text: bytes.Join([][]byte{head.Bytes(), body, tail.Bytes()}, nil)})
		return append(w.out, w.outer(boundary, "")), false, nil
	}
	head.Write(inner)
	head.WriteString("\r\n")
	size := root.RawBody().Size()
	w.out = append(w.out, w.outer(boundary, root.Header.Get("Content-Transfer-Encoding")))
	first := []eml.Edit{{Part: root, Region: eml.InBody, Start: 0, End: 0, Text: head.Bytes()}}
	return append(append(first, w.out...), eml.Edit{Part: root, Region: eml.InBody, Start: size, End: size, Text: tail.Bytes()}), false, nil
}

// A wrapping is what wrapMessage works on.
type wrapping struct {
	root    *eml.Part
	out     []eml.Edit // all that stays an edit
	mine    []eml.Edit // those of the header of the message
	content []eml.Edit // those of its content
	moved   []byte     // Content fields that edits give it
}

// take takes an edit; false if the body of the message is replaced already.
func (w *wrapping) take(e eml.Edit) bool {
	switch {
	case e.Part != w.root:
		w.out = append(w.out, e)
	case e.Region == eml.InBody:
		return false
	case e.Region == eml.InContent:
		w.content = append(w.content, e)
	default:
		if e.End == -1 {
			e.End = int64(len(w.root.Header.Bytes()))
		}
		w.mine = append(w.mine, e)
	}
	return true
}

// settle takes the Content fields out of the edits of the header. Of several edits of the same fields one
// counts, as in a patch: the one of more fields, or else the first.
func (w *wrapping) settle() {
	slices.SortStableFunc(w.mine, func(a, b eml.Edit) int { return cmp.Compare(b.End-b.Start, a.End-a.Start) })
	var kept []eml.Edit
	for _, e := range w.mine {
		if slices.ContainsFunc(kept, func(o eml.Edit) bool { return lies(e, o) }) {
			continue
		}
		kept = append(kept, e)
		moved, rest := splitContent(e.Text)
		w.moved = append(w.moved, moved...)
		if e.Text = rest; len(rest) > 0 || e.Start < e.End {
			w.out = append(w.out, e)
		}
	}
	w.mine = kept
}

// lies reports whether an edit is of what another replaces, or the same.
func lies(e, o eml.Edit) bool {
	if e.Start == e.End {
		return o.Start < e.Start && e.End < o.End || o.Start == e.Start && o.End == e.End && bytes.Equal(o.Text, e.Text)
	}
	return o.Start <= e.Start && e.End <= o.End
}

// fields are the Content fields that the message would have. They are taken from its header.
func (w *wrapping) fields() []byte {
	h := &w.root.Header
	var kept []byte
next:
	for _, f := range h.Fields {
		if !isContentField(f.Name) {
			continue
		}
		for _, e := range w.mine {
			if e.Start <= f.Start && f.End <= e.End {
				continue next
			}
		}
		kept = append(kept, h.Raw(f)...)
		w.out = append(w.out, eml.Edit{Part: w.root, Region: eml.InHeader, Start: f.Start, End: f.End})
	}
	if !endsInBreak(kept) {
		kept = append(kept, "\r\n"...)
	}
	return append(kept, w.moved...)
}

// outer gives the message its new fields. What is 8bit in it must be so itself (RFC 2045 section 6.4).
func (w *wrapping) outer(boundary, encoding string) eml.Edit {
	h := &w.root.Header
	text := "Content-Type: multipart/mixed;\r\n\tboundary=\"" + boundary + "\"\r\n"
	if v := strings.ToLower(strings.TrimSpace(encoding)); v == "8bit" || v == "binary" {
		text += "Content-Transfer-Encoding: " + v + "\r\n"
	}
	if h.Count("MIME-Version") == 0 {
		text = "MIME-Version: 1.0\r\n" + text
	}
	end := int64(len(h.Bytes()))
	return eml.Edit{Part: w.root, Region: eml.InHeader, Start: end, End: end, Text: []byte(text)}
}

// encoded is the content with its edits, in base64; false if it is large.
func (w *wrapping) encoded() ([]byte, bool, error) {
	if w.root.Size > maxBannerRewrite {
		return nil, false, nil
	}
	t := bannerTarget{p: w.root}
	raw, err := t.edited(w.content)
	return base64Lines(raw), raw != nil, err
}

// splitContent tells Content fields from others.
func splitContent(fields []byte) (content, rest []byte) {
	mine := false
	for line := range bytes.Lines(fields) {
		if line[0] != ' ' && line[0] != '\t' {
			name, _, _ := bytes.Cut(line, []byte(":"))
			mine = isContentField(string(bytes.TrimRight(name, " \t")))
		}
		if mine {
			content = append(content, line...)
		} else {
			rest = append(rest, line...)
		}
	}
	return content, rest
}

// withoutField is fields without those of one name.
func withoutField(fields []byte, name string) []byte {
	var out []byte
	gone := false
	for line := range bytes.Lines(fields) {
		if line[0] != ' ' && line[0] != '\t' {
			n, _, _ := bytes.Cut(line, []byte(":"))
			gone = strings.EqualFold(string(bytes.TrimRight(n, " \t")), name)
		}
		if !gone {
			out = append(out, line...)
		}
	}
	return out
}
