package eml

import (
	"bytes"
	"encoding/base64"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rastel/sanitize/eml/emltest"
)

// maxSeed is the largest seed: what is larger is slow to fuzz.
const maxSeed = 4 << 10

// seeds are the messages of the case files, and small ones that are hostile.
func seeds(f *testing.F) [][]byte {
	f.Helper()
	files, err := filepath.Glob("../../testdata/cases/*.case")
	if err != nil || len(files) == 0 {
		f.Fatalf("no case files: %v", err)
	}
	var out [][]byte
	add := func(raw []byte) {
		if len(raw) <= maxSeed {
			out = append(out, raw)
		}
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		_, raw, _ := bytes.Cut(b, []byte("\n\n"))
		add(bytes.ReplaceAll(raw, []byte("\n"), []byte("\r\n")))
	}
	for _, h := range emltest.Messages() {
		add([]byte(h.Make(200)))
	}
	return out
}

// FuzzHeader: the fields of a header are within it, in order, and none is made up. What is read of
// them again, from the same bytes, is the same.
func FuzzHeader(f *testing.F) {
	for _, raw := range seeds(f) {
		head, _, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
		f.Add(head)
	}
	f.Fuzz(func(t *testing.T, head []byte) {
		m, _ := parseBytes(t, append(slices.Clip(head), "\r\n\r\nbody"...), Limits{})
		h := &m.Root.Header
		if !bytes.HasPrefix(append(slices.Clip(head), "\r\n\r\nbody"...), h.raw) && m.Root.start == 0 && len(h.raw) < 1000 {
			t.Errorf("header %q of %q", h.raw, head)
		}
		at := int64(0)
		for _, field := range h.Fields {
			if field.Start < at || field.value <= field.Start || field.End < field.value || field.End > int64(len(h.raw)) {
				t.Fatalf("field %+v of %q, behind %d", field, h.raw, at)
			}
			at = field.End
			if !isFieldName([]byte(field.Name)) || !bytes.HasPrefix(h.Raw(field), []byte(field.Name)) {
				t.Errorf("name %q of %q", field.Name, h.Raw(field))
			}
			if v := h.Value(field); strings.ContainsAny(v, "\r\n") {
				t.Errorf("value %q", v)
			}
			if !bytes.Contains(h.Raw(field), h.RawValue(field)) {
				t.Errorf("raw value %q of %q", h.RawValue(field), h.Raw(field))
			}
			DecodeWords(h.Value(field))
		}
		if len(h.Fields) > 1000 || len(m.Root.Names) > 100 || int64(len(h.raw)) > 256<<10 {
			t.Errorf("%d fields, %d names, %d bytes", len(h.Fields), len(m.Root.Names), len(h.raw))
		}
	})
}

// FuzzParameters: what is taken for a parameter is bounded, and each value is told once. What we
// write ourselves reads back as what was meant.
func FuzzParameters(f *testing.F) {
	var known distinct
	for _, raw := range seeds(f) {
		h := headerOf(raw)
		for _, field := range h.Fields {
			if isContentField([]byte(field.Name)) {
				known.add(string(h.RawValue(field)))
			}
		}
	}
	for _, v := range known.list {
		f.Add(v, "name", v)
	}
	f.Fuzz(func(t *testing.T, v, name, value string) {
		const limit = 20
		p := parseField(v, limit)
		if len(p.params) > limit || slices.ContainsFunc(p.alts, func(a parsedField) bool { return len(a.params) > limit }) {
			t.Errorf("more than %d parameters of %q", limit, v)
		}
		for n, first := range p.first() {
			values := p.values(n)
			if slices.Contains(values, "") || len(slices.Compact(slices.Sorted(slices.Values(values)))) != len(values) {
				t.Errorf("values %q of %q in %q", values, n, v)
			}
			if first != firstOf(values) {
				t.Errorf("first %q of values %q of %q in %q", first, values, n, v)
			}
		}
		var b bytes.Buffer
		b.WriteString("a/b")
		writeParam(&b, name, value)
		if b.Len() == len("a/b") || strings.Contains(name, "*") {
			return // none that we write
		}
		p = parseField(b.String(), limit)
		if got := firstOf(p.values(strings.ToLower(name))); p.value != "a/b" || p.damaged || len(p.params) != 1 || got != value {
			t.Errorf("%q reads as %q with %q, damaged %v", b.String(), p.value, got, p.damaged)
		}
	})
}

// FuzzDecode: pieces decode to what the whole does, however it is cut; the fast path does what the
// slow one does; and strict decoders take no more than the lenient one.
func FuzzDecode(f *testing.F) {
	for _, raw := range seeds(f) {
		_, body, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
		f.Add(body, uint8(Base64), []byte{1, 3, 50})
		f.Add(body, uint8(QuotedPrintable), []byte{1, 3, 50})
	}
	f.Add([]byte("a"+strings.Repeat(" ", 2500)+"b="+strings.Repeat(" ", 1500)+"\r\nc=  \rd"), uint8(QuotedPrintable), []byte{255, 255, 1})
	f.Add([]byte("begin 644 a\nM"+strings.Repeat("A", 500)+"\n`\nend\n"), uint8(UUEncode), []byte{100})
	f.Fuzz(func(t *testing.T, data []byte, enc uint8, cuts []byte) {
		e := Encoding(enc % 4)
		for s := range strictnesses {
			whole, damage := decodeCut(data, newDecoder(e, s), nil)
			if got, d := decodeCut(data, newDecoder(e, s), cuts); !bytes.Equal(got, whole) || d != damage {
				t.Fatalf("%s of %q cut at %v:\n got %q (%s)\nwant %q (%s)", e, data, cuts, got, d, whole, damage)
			}
		}
		switch e {
		case Base64:
			checkBase64(t, data)
		case QuotedPrintable:
			got, _ := decodeCut(data, newDecoder(e, lenient), nil)
			if want := slowQP(data); !bytes.Equal(got, want) {
				t.Fatalf("%q:\n got %q\nwant %q", data, got, want)
			}
		case UUEncode:
			if got, _ := decodeCut(data, newDecoder(e, lenient), nil); len(got) > len(data)+maxUUFree {
				t.Fatalf("%d bytes of %d", len(got), len(data))
			}
		}
	})
}

// decodeCut decodes data in pieces of those sizes, the last of which goes on.
func decodeCut(data []byte, d decoder, sizes []byte) ([]byte, string) {
	out := []byte{}
	for i := 0; len(data) > 0; i++ {
		n := len(data)
		if len(sizes) > 0 {
			n = min(n, 1+int(sizes[min(i, len(sizes)-1)]))
		}
		out, data = d.decode(out, slices.Clone(data[:n])), data[n:]
	}
	out = d.finish(out)
	return out, d.damage()
}

func checkBase64(t *testing.T, data []byte) {
	whole, damage := decodeCut(data, &base64Decoder{}, nil)
	slow := &base64Decoder{}
	want := []byte{}
	for _, c := range data {
		want = slow.one(want, c)
	}
	want = slow.finish(want)
	if !bytes.Equal(whole, want) || damage != slow.damage() {
		t.Fatalf("%q:\n got %q (%s)\nwant %q (%s)", data, whole, damage, want, slow.damage())
	}
	plain := bytes.Map(func(r rune) rune {
		if strings.ContainsRune(" \t\r\n", r) {
			return -1
		}
		return r
	}, data)
	if std, err := base64.StdEncoding.DecodeString(string(plain)); err == nil && (!bytes.Equal(std, whole) || damage != "") {
		t.Fatalf("%q: got %q (%s), want %q", data, whole, damage, std)
	}
	for _, s := range []strictness{stopsAtPadding, stopsAtStray} {
		if out, _ := decodeCut(data, &base64Decoder{strict: s}, nil); !bytes.HasPrefix(whole, out) {
			t.Fatalf("%q: strictness %d gives %q, which %q does not begin with", data, s, out, whole)
		}
	}
	for s, unless := range map[strictness]string{passesURL: "-_", passesPadding: "="} {
		if out, _ := decodeCut(data, &base64Decoder{strict: s}, nil); !bytes.ContainsAny(data, unless) && !bytes.Equal(out, whole) {
			t.Fatalf("%q: strictness %d gives %q, want %q", data, s, out, whole)
		}
	}
	if len(whole) > len(data) {
		t.Fatalf("%d bytes of %d", len(whole), len(data))
	}
}

// slowQP is quoted-printable as the decoder promises to decode it, from the whole.
func slowQP(s []byte) []byte {
	out := []byte{}
	blanks := func(i, most int) int {
		n := 0
		for n < most && i+n < len(s) && (s[i+n] == ' ' || s[i+n] == '\t') {
			n++
		}
		return n
	}
	for i := 0; i < len(s); {
		switch {
		case s[i] == '=':
			n := 1 + blanks(i+1, maxHeld-1)
			rest := s[i+n:]
			switch {
			case len(rest) == 0 && n < maxHeld:
				i += n
			case bytes.HasPrefix(rest, []byte("\n")):
				i += n + 1
			case bytes.HasPrefix(rest, []byte("\r\n")):
				i += n + 2
			case n == 1 && len(rest) >= 2 && unhex[rest[0]] < 16 && unhex[rest[1]] < 16:
				out, i = append(out, unhex[rest[0]]<<4|unhex[rest[1]]), i+3
			default:
				out, i = append(out, '='), i+1
			}
		case s[i] == ' ' || s[i] == '\t':
			n := blanks(i, maxHeld)
			rest := s[i+n:]
			if n == maxHeld || len(rest) > 0 && rest[0] != '\n' && string(rest) != "\r" && !bytes.HasPrefix(rest, []byte("\r\n")) {
				out = append(out, s[i:i+n]...)
			}
			i += n
		default:
			out, i = append(out, s[i]), i+1
		}
	}
	return out
}

// FuzzPatch: what edits do not touch comes out as it went in, and what they put there stands there.
// No edit puts anything but whole fields into a header.
func FuzzPatch(f *testing.F) {
	for _, raw := range seeds(f) {
		f.Add(raw, uint8(1), uint16(3), uint16(2), []byte("text"))
		f.Add(raw, uint8(0), uint16(0), uint16(0), []byte("X: y\r\n"))
	}
	f.Fuzz(func(t *testing.T, raw []byte, which uint8, start, length uint16, text []byte) {
		m, _ := parseBytes(t, raw, Limits{})
		if got := patched(t, m); got != string(raw) {
			t.Fatalf("an empty patch made %q of %q", got, raw)
		}
		var parts []*Part
		m.Root.Walk(func(p *Part) bool {
			if !p.member {
				parts = append(parts, p)
			}
			return true
		})
		p := parts[int(which/3)%len(parts)]
		e := Edit{Part: p, Region: Region(which % 3), Start: int64(start), End: int64(start) + int64(length), Text: text}
		patch, err := NewPatch(m, []Edit{e})
		if err != nil {
			return // it does not fit, or is no field
		}
		var b bytes.Buffer
		if n, err := patch.WriteTo(&b); err != nil || n != int64(b.Len()) {
			t.Fatal(n, err)
		}
		if q := rewritten(patch, p); q == nil {
			checkEdit(t, raw, b.Bytes(), e)
		} else if q.Parent != nil && !(bytes.HasPrefix(b.Bytes(), raw[:q.start]) && bytes.HasSuffix(b.Bytes(), raw[q.end:])) {
			t.Fatalf("edit %v of %q changed more than part %s: %q", e, raw, q.ID, b.Bytes())
		}
		for _, field := range patch.Fields() {
			lines := strings.ReplaceAll(field.Value, "\r\n ", "")
			lines = strings.ReplaceAll(lines, "\r\n\t", "")
			if !isFieldName([]byte(field.Name)) || strings.ContainsAny(lines, "\r\n\x00") {
				t.Errorf("field edit %+v", field)
			}
		}
	})
}

// rewritten is the outermost entity around p that the patch writes anew, as it does with lines that
// are too long; nil if there is none.
func rewritten(patch *Patch, p *Part) (q *Part) {
	for ; p != nil; p = p.Parent {
		if slices.Contains(patch.anew, p) {
			q = p
		}
	}
	return q
}

// checkEdit compares the patched message with the edit carried out on the bytes.
func checkEdit(t *testing.T, raw, got []byte, e Edit) {
	p := e.Part
	from := p.body
	if e.Region == InHeader {
		from = p.start
	}
	switch {
	case e.Region == InContent && p.Encoding != Identity:
		// The encoded body changes, at least around the edit, and nothing else.
		after := raw[p.end:]
		if !bytes.HasPrefix(got, raw[:p.body]) || !bytes.HasSuffix(got, after) {
			t.Fatalf("edit %v of %q changed more than part %s: %q", e, raw, p.ID, got)
		}
	case e.Region == InHeader && p.Parent == nil:
		// The MTA puts what is new behind all other fields; those that are not edited stay.
		rest := got
		for _, f := range p.Header.Fields {
			line := bytes.TrimRight(p.Header.Raw(f), "\r\n")
			_, behind, ok := bytes.Cut(rest, line)
			switch {
			case f.Start < e.End && e.Start < f.End:
			case !ok:
				t.Fatalf("edit %v of %q: field %q is gone: %q", e, raw, line, got)
			default:
				rest = behind
			}
		}
		if !bytes.HasSuffix(got, raw[p.body:]) {
			t.Fatalf("edit %v of the header of %q changed its body: %q", e, raw, got)
		}
	case e.Region == InHeader && e.Start == int64(len(p.Header.raw)):
		// A line break may come before it.
	default:
		want := slices.Concat(raw[:from+e.Start], e.Text, raw[from+e.End:])
		if !bytes.Equal(got, want) {
			t.Fatalf("edit %v of %q:\n got %q\nwant %q", e, raw, got, want)
		}
	}
}
