package milter

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-milter"

	"rastel/policy"
	"rastel/sanitize/eml"
)

// A delivered is the message as an MTA has it: header fields, the first of which is its own
// Received, and the body.
type delivered struct {
	fields []string // "Name:value", with LF in folds
	body   string
}

// carryOut does to x what an MTA does at the request of a filter (smfi_chgheader(3) and its
// like): "m" counts among fields of that name, "i" among all, the MTA's own included.
func carryOut(t *testing.T, x mail, edits []packet) delivered {
	t.Helper()
	d := delivered{fields: append([]string{"Received: by the MTA"}, x.fields...), body: x.body}
	replaced := false
	for _, e := range edits {
		if e.code == 'b' {
			if !replaced {
				d.body, replaced = "", true
			}
			d.body += e.data
			continue
		}
		if replaced {
			t.Errorf("edit %q %.60q comes after the body", e.code, e.data)
		}
		d.field(t, e)
	}
	return d
}

func (d *delivered) field(t *testing.T, e packet) {
	t.Helper()
	index, rest := 0, e.data
	if e.code != 'h' {
		index, rest = int(binary.BigEndian.Uint32([]byte(rest))), rest[4:]
	}
	args := strings.Split(strings.TrimSuffix(rest, "\x00"), "\x00")
	if len(args) != 2 {
		t.Fatalf("edit %q %q has %d strings, want 2", e.code, e.data, len(args))
	}
	line := args[0] + ":" + args[1]
	switch e.code {
	case 'h':
		d.fields = append(d.fields, line)
	case 'i':
		index = min(index, len(d.fields))
		d.fields = slices.Insert(d.fields, index, line)
	case 'm':
		for i, f := range d.fields {
			name, _, _ := strings.Cut(f, ":")
			if !strings.EqualFold(name, args[0]) {
				continue
			}
			if index--; index > 0 {
				continue
			}
			d.fields[i] = line
			if args[1] == "" {
				d.fields = slices.Delete(d.fields, i, i+1)
			}
			return
		}
		t.Errorf("edit %q: there is no such field", e.data)
	}
}

func (d delivered) raw() string {
	return mail{fields: d.fields[1:], body: d.body}.raw()
}

// patching is a judge that parses the message and changes it.
func patching(t *testing.T, edit func(m *eml.Message) []eml.Edit, want io.Writer) Judge {
	return JudgeFunc(func(ctx context.Context, env *eml.Envelope, s *eml.Spool) (*policy.Verdict, error) {
		m, _, err := eml.Parse(ctx, env, s, eml.Limits{}, nil)
		if err != nil {
			return nil, err
		}
		t.Cleanup(m.Close)
		p, err := eml.NewPatch(m, edit(m))
		if err != nil {
			return nil, err
		}
		if _, err := p.WriteTo(want); err != nil {
			return nil, err
		}
		return &policy.Verdict{Action: policy.Accept, Patch: p}, nil
	})
}

// header is an edit of fields [i, j) of the message's own header.
func header(m *eml.Message, i, j int, text string) eml.Edit {
	h := m.Root.Header
	e := eml.Edit{Part: m.Root, Region: eml.InHeader, Text: []byte(text)}
	if i < len(h.Fields) {
		e.Start = h.Fields[i].Start
	} else {
		e.Start = h.Fields[len(h.Fields)-1].End
	}
	e.End = e.Start
	if j > i {
		e.End = h.Fields[j-1].End
	}
	return e
}

func body(m *eml.Message, start, end int64, text string) eml.Edit {
	return eml.Edit{Part: m.Root, Region: eml.InBody, Start: start, End: end, Text: []byte(text)}
}

func TestTheMTADeliversThePatchedMessage(t *testing.T) {
	x := mail{"Q1", "a@x.example", []string{"r@x.example"}, []string{
		"Received: from a\n\tby b", "Subject:no space", "X-Tag: 1", "x-tag:  2", "X-TAG: 3 ", "To: r",
	}, strings.Repeat("a line of text\r\n", 20_000)}
	for name, edit := range map[string]func(m *eml.Message) []eml.Edit{
		"nothing": func(*eml.Message) []eml.Edit { return nil },
		"change": func(m *eml.Message) []eml.Edit {
			return []eml.Edit{header(m, 1, 2, "Subject: [tag] s\r\n\tfolded\r\n")}
		},
		"change to nothing": func(m *eml.Message) []eml.Edit { return []eml.Edit{header(m, 1, 2, "Subject: \r\n")} },
		"delete all tags":   func(m *eml.Message) []eml.Edit { return []eml.Edit{header(m, 2, 5, "")} },
		"delete second tag": func(m *eml.Message) []eml.Edit { return []eml.Edit{header(m, 3, 4, "")} },
		"insert at the top": func(m *eml.Message) []eml.Edit { return []eml.Edit{header(m, 0, 0, "X-A: 1\r\nX-B: 2\r\n")} },
		"insert further on": func(m *eml.Message) []eml.Edit { return []eml.Edit{header(m, 3, 3, "X-A:1\r\n")} },
		"append":            func(m *eml.Message) []eml.Edit { return []eml.Edit{header(m, 6, 6, "X-A: 1\r\nX-B: 2\r\n")} },
		"everything": func(m *eml.Message) []eml.Edit {
			return []eml.Edit{
				header(m, 0, 0, "X-First: 1\r\n"), header(m, 1, 2, "Subject: s\r\n"), header(m, 3, 4, ""),
				header(m, 5, 5, "X-Mid: 2\r\n"), header(m, 6, 6, "X-Last: 3\r\n"), body(m, 16, 32, ""), body(m, 0, 0, "new\r\n"),
			}
		},
		"body":           func(m *eml.Message) []eml.Edit { return []eml.Edit{body(m, 3, 5, "LINE \x00\xff \r\r\n")} },
		"body to empty":  func(m *eml.Message) []eml.Edit { return []eml.Edit{body(m, 0, -1, "")} },
		"body to little": func(m *eml.Message) []eml.Edit { return []eml.Edit{body(m, 0, -1, "x")} },
	} {
		for _, protocol := range []uint32{offerProtocol, offerProtocol &^ (nrHeader | nrBody)} {
			var want bytes.Buffer
			m := start(t, Config{}, patching(t, edit, &want)).mta()
			m.offer(6, offerActions, protocol)
			edits, final := m.deliver(x)
			if final.code != 'a' {
				t.Errorf("%s: got %v, want accept", name, final)
				continue
			}
			if got := carryOut(t, x, edits).raw(); got != want.String() {
				t.Errorf("%s: got %.300q, want %.300q", name, got, want.String())
			}
			if name == "nothing" && len(edits) > 0 {
				t.Errorf("a clean message got %d edits", len(edits))
			}
		}
	}
}

func TestValuesWithoutLeadingSpaceAreAsTheMTAWantsThem(t *testing.T) {
	var want bytes.Buffer
	edit := func(m *eml.Message) []eml.Edit { return []eml.Edit{header(m, 0, 1, "From: changed\r\n")} }
	m := start(t, Config{}, patching(t, edit, &want)).mta()
	m.offer(6, offerActions, offerProtocol&^leadSpc)
	edits, _ := m.deliver(first)
	if want := "\x00\x00\x00\x01From\x00changed\x00"; len(edits) != 1 || edits[0].data != want {
		t.Errorf("got %q, want %q: the MTA adds the blank", edits, want)
	}
}

func TestActions(t *testing.T) {
	for _, tt := range []struct {
		v    policy.Verdict
		code byte
		data string
	}{
		{policy.Verdict{Action: policy.Accept}, 'a', ""},
		{policy.Verdict{Action: policy.Accept, Hold: true}, 'a', ""},
		{policy.Verdict{Action: policy.Quarantine}, 'd', ""},
		{policy.Verdict{Action: policy.Discard}, 'd', ""},
		{policy.Verdict{Action: policy.Reject, Reply: policy.Reply{Code: 554, Enhanced: "5.7.0", Text: "no"}}, 'y', "554 5.7.0 no\x00"},
		{policy.Verdict{Action: policy.TempFail, Reply: policy.Reply{Text: "later"}}, 'y', "451 4.7.1 later\x00"},
	} {
		m := start(t, Config{}, always(tt.v)).mta()
		m.hello()
		edits, final := m.deliver(first)
		if len(edits) > 0 || final.code != tt.code || final.data != tt.data {
			t.Errorf("%v: got %v %q %q, want %q %q", tt.v.Action, edits, final.code, final.data, tt.code, tt.data)
		}
	}
}

func TestRejectsEditsThatTheMTAWouldMisunderstand(t *testing.T) {
	fields := []string{"From", "X-Tag", "x-tag"}
	for _, tt := range []struct {
		e    eml.FieldEdit
		want bool
	}{
		{eml.FieldEdit{Op: eml.ChangeField, Index: 1, Name: "From"}, true},
		{eml.FieldEdit{Op: eml.ChangeField, Index: 2, Name: "X-TAG"}, true},
		{eml.FieldEdit{Op: eml.DeleteField, Index: 3, Name: "X-Tag"}, false}, // Postfix would append
		{eml.FieldEdit{Op: eml.ChangeField, Index: 0, Name: "From"}, false},  // both take it for 1
		{eml.FieldEdit{Op: eml.ChangeField, Index: -1, Name: "From"}, false},
		{eml.FieldEdit{Op: eml.ChangeField, Index: 1, Name: "To"}, false},
		{eml.FieldEdit{Op: eml.InsertField, Name: "A"}, true},
		{eml.FieldEdit{Op: eml.AppendField, Name: "A"}, true},
		{eml.FieldEdit{Op: 77, Name: "A"}, false},
		{eml.FieldEdit{Op: eml.AppendField, Name: ""}, false},
		{eml.FieldEdit{Op: eml.AppendField, Name: "X New"}, false},
		{eml.FieldEdit{Op: eml.AppendField, Name: "X:"}, false},
		{eml.FieldEdit{Op: eml.AppendField, Name: "X\x00"}, false},
		{eml.FieldEdit{Op: eml.AppendField, Name: "X\r\nBcc"}, false},
		{eml.FieldEdit{Op: eml.AppendField, Name: "Xé"}, false},
		{eml.FieldEdit{Op: eml.AppendField, Name: strings.Repeat("x", maxFieldName+1)}, false},
		{eml.FieldEdit{Op: eml.AppendField, Name: "A", Value: strings.Repeat("x", maxFieldEdit+1)}, false},
	} {
		if err := checkEdit(tt.e, fields); (err == nil) != tt.want {
			t.Errorf("%d %d %.20q: got %v, want allowed %v", tt.e.Op, tt.e.Index, tt.e.Name, err, tt.want)
		}
	}
}

func TestCleansFieldValues(t *testing.T) {
	for _, tt := range []struct {
		value, want string
		leading     bool
	}{
		{" v", " v", true},
		{"v", "v", true},
		{" v", "v", false},
		{"  v", " v", false},
		{" a\r\n b\r\n\tc", " a\n b\n\tc", true},
		{" a\r\nBcc: b", " a Bcc: b", true},
		{" a\nBcc: b", " a Bcc: b", true},
		{" a\r\n\r\nbody", " a  body", true},
		{" a\rb\x00c", " a b c", true},
		{" a\r\r\n b", " a \n b", true},
		{" a\r\n", " a ", true},
		{" \xff\x80", " \xff\x80", true},
	} {
		if got := wireValue(tt.value, tt.leading); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.value, got, tt.want)
		}
	}
}

// A brokenBody fails, or panics, after it has written so much.
type brokenBody struct {
	size   int
	panics bool
}

func (b brokenBody) WriteTo(w io.Writer) (int64, error) {
	n, _ := w.Write(make([]byte, b.size))
	if b.panics {
		panic("boom")
	}
	return int64(n), io.ErrUnexpectedEOF
}

// pipeConn is a conn whose output is kept.
func pipeConn(t *testing.T) (*conn, *scripted) {
	srv, err := New(Options{Judge: accept()})
	if err != nil {
		t.Fatal(err)
	}
	nc := &scripted{}
	return newConn(srv, nc), nc
}

// packets takes the output of c apart.
func packets(t *testing.T, c *conn, nc *scripted) []packet {
	t.Helper()
	if err := c.flush(); err != nil {
		t.Fatal(err)
	}
	var out []packet
	for b := nc.out.Bytes(); len(b) > 0; {
		n := 4 + int(binary.BigEndian.Uint32(b))
		if n > len(b) || n < 5 {
			t.Fatalf("%d bytes of output are no frame: %.40q", len(b), b)
		}
		out = append(out, packet{b[4], string(b[5:n])})
		b = b[n:]
	}
	return out
}

func TestBodyChunksNeverSplitALineBreak(t *testing.T) {
	const seed = 1
	r := rand.New(rand.NewPCG(seed, 0))
	for round := range 20 {
		text := strings.Repeat([]string{"\r\n", "\r", "x\r\n", "\r\r\n", "xyz"}[round%5], 80_000+r.IntN(5))
		c, nc := pipeConn(t)
		if err := replaceBody(c, pieces{text, r}); err != nil {
			t.Fatal(err)
		}
		var got strings.Builder
		for _, p := range packets(t, c, nc) {
			if p.code != 'b' || len(p.data) > 65535 {
				t.Errorf("round %d: packet %q of %d bytes", round, p.code, len(p.data))
			}
			if got.Len() > 0 && strings.HasPrefix(p.data, "\n") && strings.HasSuffix(got.String(), "\r") {
				t.Errorf("round %d: a line break is split after %d bytes", round, got.Len())
			}
			got.WriteString(p.data)
		}
		if got.String() != text {
			t.Errorf("round %d: %d bytes came out of %d, or others", round, got.Len(), len(text))
		}
	}
}

// pieces writes a text in pieces of random size.
type pieces struct {
	text string
	r    *rand.Rand
}

func (p pieces) WriteTo(w io.Writer) (int64, error) {
	for rest := p.text; rest != ""; {
		n := min(len(rest), 1+p.r.IntN(100_000))
		if _, err := io.WriteString(w, rest[:n]); err != nil {
			return 0, err
		}
		rest = rest[n:]
	}
	return int64(len(p.text)), nil
}

func TestABodyThatCannotBeWrittenLeavesWholeFrames(t *testing.T) {
	for _, size := range []int{0, 1, 65535, 65536, 200_000} {
		c, nc := pipeConn(t)
		if err := replaceBody(c, brokenBody{size: size}); err == nil {
			t.Errorf("%d bytes: no error", size)
		}
		for _, p := range packets(t, c, nc) {
			if p.code != 'b' {
				t.Errorf("%d bytes: packet %q", size, p.code)
			}
		}
	}
}

// TestAPatchThatCannotBeReadIsATempfail closes what the patch reads from before it is carried
// out, as a bug or a broken disk would.
func TestAPatchThatCannotBeReadIsATempfail(t *testing.T) {
	for _, size := range []int{10, 300_000} {
		x := first
		x.body = strings.Repeat("y", size)
		var sink bytes.Buffer
		inner := patching(t, func(m *eml.Message) []eml.Edit {
			return []eml.Edit{header(m, 0, 0, "X-A: b\r\n"), body(m, 0, 1, "z")}
		}, &sink)
		r := start(t, Config{}, JudgeFunc(func(ctx context.Context, env *eml.Envelope, s *eml.Spool) (*policy.Verdict, error) {
			v, err := inner.Judge(ctx, env, s)
			s.Close()
			return v, err
		}))
		m := r.mta()
		m.hello()
		if _, final := m.deliver(x); final.code != 'y' || !strings.HasPrefix(final.data, "451 ") {
			t.Errorf("%d bytes: got %v, want 451", size, final)
		}
		if log := r.log.String(); !strings.Contains(log, "level=ERROR") {
			t.Errorf("%d bytes: the log does not tell: %s", size, log)
		}
	}
}

func TestContainsPanicsWhileAVerdictIsCarriedOut(t *testing.T) {
	c, nc := pipeConn(t)
	resp := func() (resp milter.Response) {
		defer c.session.guard(&resp, milter.RespTempFail)
		_ = replaceBody(c, brokenBody{size: 100_000, panics: true})
		return nil
	}()
	if resp != milter.RespTempFail {
		t.Errorf("got %v, want tempfail", resp)
	}
	for _, p := range packets(t, c, nc) { // what was begun is whole frames, so the answer can follow
		if p.code != 'b' {
			t.Errorf("packet %q", p.code)
		}
	}
}
