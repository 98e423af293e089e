package onenote

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"rastel/sanitize/eml"
	"rastel/scanners"
	"rastel/scanners/scannertest"
)

const notebookMark = "\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d\xae\xb1\x53\x78\xd0\x29\x96\xd3"

// aNotebook has a header of 1024 bytes and the pieces behind it.
func aNotebook(format string, pieces ...string) string {
	h := notebookMark + strings.Repeat("\x00", formatOffset-len(notebookMark)) + format
	return h + strings.Repeat("\x00", 1024-len(h)) + strings.Join(pieces, "")
}

func storedFile(content string) string {
	b := binary.LittleEndian.AppendUint64([]byte(fileMark), uint64(len(content)))
	return string(b) + strings.Repeat("\x00", 12) + content + strings.Repeat("\x00", -len(content)&7) +
		"\x22\xa7\xfb\x71\x79\x0f\x0b\x4a\xbb\x13\x89\x92\x56\x42\x6b\x24"
}

// number is a compact unsigned integer.
func number(v uint64) string {
	used := 1
	for ; used < 8 && v >= 1<<(7*used); used++ { //nolint:revive // counts
	}
	if used == 8 {
		return "\x80" + string(binary.LittleEndian.AppendUint64(nil, v))
	}
	return string(binary.LittleEndian.AppendUint64(nil, v<<used|1<<(used-1))[:used])
}

func blob(content string) string {
	body := number(uint64(len(content))) + content
	if len(body) < longBlob {
		return string(binary.LittleEndian.AppendUint32(nil, uint32(len(body))<<17|0x12)) + body
	}
	return string(binary.LittleEndian.AppendUint32(nil, longBlob<<17|0x12)) + number(uint64(len(body))) + body
}

// named is an object with the name of a file, behind properties of other types.
func named(mark, name string) string {
	var text []byte
	for _, u := range utf16.Encode([]rune(name + "\x00")) {
		text = binary.LittleEndian.AppendUint16(text, u)
	}
	value := func(b []byte) string {
		return string(binary.LittleEndian.AppendUint32(nil, uint32(len(b)))) + string(b)
	}
	ids := "\x01\x1d\x00\x88" + "\x02\x1d\x00\x14" + "\x9b\x1d\x00\x20" + "\x03\x1d\x00\x24" + "\x04\x1d\x00\x1c" + mark + "\x05\x1d\x00\x0c"
	return "\x07\x00" + ids + "\x01\x02\x03\x04" + "\x05\x00\x00\x00" + value([]byte("xyz")) + value(text) + "\x07"
}

var limits = scanners.BudgetLimits{Bytes: 1 << 20, Members: 200}

func expand(t testing.TB, content string) (members, findings []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	s := eml.NewSpool(eml.SpoolOptions{})
	if _, err := s.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	s.CloseWrite(nil)
	p, err := eml.NewMember(&eml.Part{ID: "1"}, 1, []string{"a.one"}, s)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Release()
	size := int64(0)
	list, err := Scanner{}.Expand(ctx, p, scanners.NewBudget(limits, eml.SpoolOptions{}), func(m *eml.Part) error {
		defer m.Release()
		b, err := io.ReadAll(m.Content())
		if err != nil {
			t.Fatal(err)
		}
		size += m.Size
		members = append(members, fmt.Sprintf("%q %.20s", m.Names, b))
		return nil
	})
	if err != nil && !errors.Is(err, scanners.ErrBudget) {
		t.Errorf("got %v, want no error but that of the budget", err)
	}
	if size > limits.Bytes || len(members) > limits.Members {
		t.Errorf("%d members, %d bytes", len(members), size)
	}
	for _, f := range list {
		if f.Check != damaged || f.Part == nil || !f.Unexamined {
			t.Errorf("finding %+v", f)
		}
		findings = append(findings, f.Detail)
	}
	return members, findings
}

func TestOpensNotebooks(t *testing.T) {
	large := strings.Repeat("large ", 20_000)
	var names, want []string
	for i := range maxNames + 2 {
		names = append(names, named(embeddedName, fmt.Sprintf("%02d.txt", i)))
	}
	for i := range maxNames {
		want = append(want, fmt.Sprintf("%02d.txt", i))
	}
	for name, test := range map[string]struct {
		content string
		want    []string
	}{
		"nothing":           {aNotebook(""), nil},
		"a file":            {aNotebook("", storedFile("content")), []string{"[] content"}},
		"files with names":  {aNotebook("", storedFile("one"), named(embeddedName, "ü.exe"), storedFile("two"), named(sourcePath, `C:\b.exe`), named(imageName, "c.png")), []string{`["ü.exe" "C:\\b.exe" "c.png"] one`, `["ü.exe" "C:\\b.exe" "c.png"] two`}},
		"a file in a file":  {aNotebook("", storedFile("x"+storedFile("inner"))), []string{"[] x" + fileMark[:1] + "\x16\xe3\xbd\x65\x26\x11\x45\xa4\xc4\x8d\x4d\x0b\x7a\x9e\xac\x05\x00\x00", "[] inner"}},
		"behind a window":   {aNotebook("", strings.Repeat("x", window-1024-5), storedFile("content")), []string{"[] content"}},
		"too many names":    {aNotebook("", append(names, storedFile("content"))...), []string{`["16.txt"] `, `["17.txt"] `, fmt.Sprintf("%q content", want)}},
		"synchronised":      {aNotebook(packaged, "\x12\x00", blob("content"), named(embeddedName, "a.exe"), blob(strings.Repeat("long ", 100)), blob(large)), []string{`["a.exe"] content`, `["a.exe"] long long long long `, `["a.exe"] large large large la`}},
		"not synchronised":  {aNotebook("", blob("content")), nil},
		"the mark, no name": {aNotebook("", embeddedName+"\xff\xff\xff\xff", storedFile("x")), []string{"[] x"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, findings := expand(t, test.content)
			if name == "a file in a file" {
				got[0], test.want[0] = got[0][:5], test.want[0][:5]
			}
			if !slices.Equal(got, test.want) || len(findings) > 0 {
				t.Errorf("got %q and %q, want %q", got, findings, test.want)
			}
		})
	}
}

func TestDamagedNotebooks(t *testing.T) {
	for name, test := range map[string]struct {
		content, want string
	}{
		"a file that is cut off":     {aNotebook("", storedFile("content")[:fileHeader+3]), "[] con"},
		"a file without a beginning": {aNotebook("", storedFile("content")[:20]), ""},
		"a length without measure":   {aNotebook("", fileMark+"\xff\xff\xff\xff\xff\xff\xff\xff", strings.Repeat("\x00", 12), "x"), "[] x"},
	} {
		t.Run(name, func(t *testing.T) {
			got, findings := expand(t, test.content)
			if len(findings) != 1 || test.want != "" && !slices.Contains(got, test.want) {
				t.Errorf("got %q and %q, want %q and a finding", got, findings, test.want)
			}
		})
	}
}

func TestCompactNumbers(t *testing.T) {
	for _, v := range []uint64{0, 1, 127, 128, 1<<14 - 1, 1 << 14, 1 << 21, 1 << 28, 1 << 35, 1 << 42, 1<<49 - 1, 1 << 49, 1<<64 - 1} {
		if got, used := compact([]byte(number(v) + "x")); got != v || used != len(number(v)) {
			t.Errorf("%d gave %d of %d bytes, want %d", v, got, used, len(number(v)))
		}
	}
}

func TestNotebooksKeepTheirContract(t *testing.T) { scannertest.Run(t, Scanner{}) }

// FuzzNotebook holds every notebook to the contract of Expand; what is on a page comes out.
func FuzzNotebook(f *testing.F) {
	f.Add(storedFile("one")+named(embeddedName, "ü.exe"), "content")
	f.Add(blob("one")+named(sourcePath, "a"), "content")
	f.Fuzz(func(t *testing.T, pieces, content string) {
		expand(t, aNotebook("", pieces))
		expand(t, aNotebook(packaged, pieces))
		if len(content) > 16<<10 || strings.Contains(content, fileMark[:3]) || strings.Contains(content, "\x1d\x00\x1c") {
			return
		}
		got, findings := expand(t, aNotebook("", storedFile(content)))
		if want := fmt.Sprintf("%q %.20s", []string(nil), content); len(got) != 1 || got[0] != want || len(findings) > 0 {
			t.Errorf("%q gave %q and %q", content, got, findings)
		}
	})
}
