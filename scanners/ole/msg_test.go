package ole

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"rastel/sanitize/eml"
	"rastel/scanners"
	"rastel/scanners/scannertest"
)

// hang is how long something may take before it is held for one that never ends. It bounds no
// speed: other programs may have the processor, and benchmarks measure.
const hang = time.Minute

// rtf is "hello" as a compressed RTF that is not compressed (MS-OXRTFCP 2.1.3.1.5).
func rtf(text string) string {
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(text)+12))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(text)))
	b = append(b, "MELA\x00\x00\x00\x00"...)
	return string(b) + text
}

// aMessage is one with everything in it.
func aMessage() dir {
	props := string(make([]byte, 32))
	inner := dir{
		propertyStream: props, "__substg1.0_1000001F": utf16le("inner"),
		attachmentPrefix + "#00000000": dir{propertyStream: props, "__substg1.0_37010102": "deep", "__substg1.0_3707001F": utf16le("deep.exe")},
	}
	return dir{
		propertyStream: props, "__nameid_version1.0": dir{"__substg1.0_00020102": "x"},
		"__substg1.0_0037001F": utf16le("subject"),
		"__substg1.0_1000001F": utf16le("text ü"),
		"__substg1.0_10130102": "<html>hello</html>",
		"__substg1.0_10090102": rtf("{\\rtf1 hello}"),
		attachmentPrefix + "#00000000": dir{
			propertyStream: props, "__substg1.0_37010102": strings.Repeat("large ", 2000),
			"__substg1.0_3707001F": utf16le("a long name.txt"), "__substg1.0_3704001E": "ALONGN~1.TXT", "__substg1.0_3001001F": utf16le("shown"),
			"__substg1.0_3703001F": utf16le(".exe"), "__substg1.0_370E001F": utf16le("Text/Plain"),
		},
		attachmentPrefix + "#00000001": dir{propertyStream: props, "__substg1.0_3701000D": inner},
		attachmentPrefix + "#00000002": dir{propertyStream: props, "__substg1.0_3001001E": "object\x00", "__substg1.0_3701000D": dir{"\x01Ole": "1", "sub": dir{"CONTENTS": "object"}}},
		attachmentPrefix + "#00000003": dir{propertyStream: props, "__substg1.0_3707001E": "only a name.exe"},
	}
}

func part(t testing.TB, content []byte, names ...string) *eml.Part {
	t.Helper()
	s := eml.NewSpool(eml.SpoolOptions{})
	if _, err := s.Write(content); err != nil {
		t.Fatal(err)
	}
	s.CloseWrite(nil)
	p, err := eml.NewMember(&eml.Part{ID: "1"}, 1, names, s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Release)
	return p
}

var limits = scanners.BudgetLimits{Bytes: 1 << 20, Members: 200}

// expand gives the members of content, each in one line, and the findings.
func expand(t testing.TB, content []byte, names ...string) (members []string, findings []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	size, start := int64(0), time.Now()
	list, err := Files{}.Expand(ctx, part(t, content, names...), scanners.NewBudget(limits, eml.SpoolOptions{}), func(m *eml.Part) error {
		defer m.Release()
		b, err := io.ReadAll(m.Content())
		if err != nil {
			t.Fatal(err)
		}
		size += m.Size
		members = append(members, fmt.Sprintf("%q %s %.20s", m.Names, m.MediaType, b))
		return nil
	})
	if err != nil && !errors.Is(err, scanners.ErrBudget) {
		t.Errorf("got %v, want no error but that of the budget", err)
	}
	if took := time.Since(start); size > limits.Bytes || len(members) > limits.Members || took > hang {
		t.Errorf("%d members, %d bytes, %v", len(members), size, took)
	}
	for _, f := range withoutOffice(t, list) {
		if f.Check != damaged && f.Check != encrypted || f.Part == nil || !f.Unexamined {
			t.Errorf("finding %+v", f)
		}
		findings = append(findings, f.Detail)
	}
	return members, findings
}

func TestOpensMessages(t *testing.T) {
	got, findings := expand(t, compoundFile(aMessage()))
	want := []string{
		`["ALONGN~1.TXT" "a long name.txt" "ALONGN~1.TXT.exe" "a long name.txt.exe"] text/plain large large large la`,
		`["deep.exe"]  deep`,
		`["object"]  object`,
		`["only a name.exe"]  `,
		`[] text/html <html>hello</html>`,
		`[] text/plain inner`,
		`[] text/plain text ü`,
		`[] text/rtf {\rtf1 hello}`,
	}
	slices.Sort(got)
	if !slices.Equal(got, want) || len(findings) > 0 {
		t.Errorf("got\n%s\nand %q, want\n%s", strings.Join(got, "\n"), findings, strings.Join(want, "\n"))
	}
}

func TestHasNothingToSayOfPlainDocuments(t *testing.T) {
	for _, content := range [][]byte{compoundFile(dir{"WordDocument": "x", "1Table": strings.Repeat("x", 9000)}), []byte("hello")} {
		if got, findings := expand(t, content, "a.doc"); len(got)+len(findings) > 0 {
			t.Errorf("got %q and %q ", got, findings)
		}
	}
}

func TestDamageIsAFinding(t *testing.T) {
	whole := compoundFile(aMessage())
	le := binary.LittleEndian
	directory := (int(le.Uint32(whole[48:])) + 1) * 512
	changed := func(at int, v uint32) []byte {
		b := slices.Clone(whole)
		le.PutUint32(b[at:], v)
		return b
	}
	deep := dir{propertyStream: "x"}
	for range 40 {
		deep = dir{propertyStream: "x", attachmentPrefix + "0": dir{"__substg1.0_3701000D": deep}}
	}
	for name, content := range map[string][]byte{
		"magic only":                   whole[:8],
		"header only":                  whole[:512],
		"half":                         whole[:len(whole)/2],
		"sectors of 2 GB":              changed(30, 0x0006001f),
		"a directory elsewhere":        changed(48, 0x7fffffff),
		"a sibling elsewhere":          changed(directory+entrySize+72, 0x7fffffff),
		"a child that is its parent":   changed(directory+76, 0),
		"a circle of siblings":         changed(directory+entrySize+72, 1),
		"a mini stream elsewhere":      changed(directory+116, 0x7fffffff),
		"a table of sectors elsewhere": changed(76, 0x7fffffff),
		"messages in messages":         compoundFile(deep),
	} {
		t.Run(name, func(t *testing.T) {
			if _, findings := expand(t, content, "a.msg"); len(findings) == 0 {
				t.Error("no finding")
			}
		})
	}
}

// A chain that is a circle, or a stream that says it is larger than its chain, ends where the file
// has no more to give.
func TestStreamsEndWithTheirSectors(t *testing.T) {
	whole := compoundFile(dir{propertyStream: "x", attachmentPrefix + "0": dir{"__substg1.0_37010102": strings.Repeat("a", 8192)}})
	at := bytes.Index(whole, []byte(utf16le("__substg1.0_37010102")))
	binary.LittleEndian.PutUint32(whole[at+120:], 0x7fffffff)
	got, findings := expand(t, whole)
	if len(got) != 1 || len(findings) != 1 {
		t.Errorf("got %q and %q, want what there is and a finding", got, findings)
	}
}

// A directory of storages in one another costs no more than it has bytes: no path is kept.
func TestDeepDirectories(t *testing.T) {
	d := dir{"x": "x"}
	for range 5000 {
		d = dir{"s": d}
	}
	d[propertyStream] = "x"
	d[attachmentPrefix+"0"] = dir{"__substg1.0_3701000D": dir{"s": d["s"]}}
	if got, findings := expand(t, compoundFile(d)); len(got) != 2 || len(findings) > 0 {
		t.Errorf("got %q and %q", got, findings)
	}
}

func TestMessagesKeepTheirContract(t *testing.T) { scannertest.Run(t, Files{}) }

// FuzzMSG holds every compound file to the contract of Expand; and what is put into a message comes
// out of it.
func FuzzMSG(f *testing.F) {
	f.Add(compoundFile(aMessage()))
	f.Add(compoundFile(dir{"WordDocument": "x"}))
	f.Add([]byte(hex.EncodeToString([]byte("hello"))))
	f.Fuzz(func(t *testing.T, content []byte) {
		expand(t, content, "a.msg")
		if len(content) > 64<<10 {
			return
		}
		whole := compoundFile(dir{propertyStream: "x", attachmentPrefix + "0": dir{"__substg1.0_37010102": string(content)}})
		got, findings := expand(t, whole)
		if want := fmt.Sprintf("%q %s %.20s", []string(nil), "", content); len(got) != 1 || got[0] != want || len(findings) > 0 {
			t.Errorf("%q gave %q and %q", content, got, findings)
		}
	})
}
