package archive

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

// cabMethods are those that a test can pack with.
var cabMethods = map[string]uint16{"stored": cabStored, "MSZIP": cabMSZip, "LZX": lzxMethod}

func TestOpensCabinetsOfEveryMethod(t *testing.T) {
	long := letter + string(noise(100_000)) + strings.Repeat(letter, 100)
	for name, method := range cabMethods {
		for _, reserve := range []int{0, 3} {
			m := cabMaker{method: method, reserve: reserve}
			r := expandIn(t.Context(), t, New(Config{}), "a.cab", m.of(t, file{"letter.txt", letter}, file{"long", long}, file{"empty", ""}, file{`dir\b.exe`, "MZ"}), scanners.BudgetLimits{})
			r.wantMember(t, "letter.txt", letter)
			r.wantMember(t, "empty", "")
			r.wantMember(t, `dir\b.exe`, "MZ")
			r.wantChecks(t)
			if i := slices.IndexFunc(r.members, func(m seenMember) bool { return slices.Contains(m.names, "long") }); i < 0 || r.members[i].size != int64(len(long)) || !bytes.HasPrefix([]byte(long), r.members[i].content) {
				t.Errorf("%s, reserve %d: long is not as it was:%s", name, reserve, r)
			}
		}
	}
}

func TestCabinetsAreFoundInOtherFiles(t *testing.T) {
	one, two := cabMaker{method: cabMSZip}.of(t, file{"one.txt", letter}), cabMaker{method: lzxMethod}.of(t, file{"two.txt", letter})
	lying := bytes.Clone(one)
	binary.LittleEndian.PutUint32(lying[8:], 1<<30) // its size covers the next
	r := expand(t, join(program, make([]byte, 999), lying, []byte("between"), two), scanners.BudgetLimits{})
	r.wantMember(t, "one.txt", letter)
	r.wantMember(t, "two.txt", letter)
	r.wantChecks(t)
	r = expand(t, join([]byte("\x89PNG\r\n\x1a\n"), make([]byte, 99), one), scanners.BudgetLimits{})
	r.wantMember(t, "one.txt", letter)
	r.wantChecks(t, ambiguous)
	r = expand(t, join(program, bytes.Repeat(one, maxCabs+1)), scanners.BudgetLimits{})
	r.wantChecks(t, limit)
	r = expand(t, join(program, []byte("MSCF is what a cabinet begins with, and there is more text behind it")), scanners.BudgetLimits{})
	r.wantChecks(t)
}

func TestCabinetsOfASet(t *testing.T) {
	for name, tt := range map[string]struct {
		m     cabMaker
		whole bool // the second file can be read
	}{
		"its first file begins in the one before": {cabMaker{flags: cabHasPrevious, first: cabFromPrevious}, false},
		"its file goes through":                   {cabMaker{flags: cabHasPrevious | cabHasNext, first: cabThrough}, false},
		"its last block goes on":                  {cabMaker{flags: cabHasNext, first: cabToNext, last: true}, false},
		"though it is none":                       {cabMaker{last: true}, false},
	} {
		for method := range cabMethods {
			tt.m.method = cabMethods[method]
			r := expand(t, tt.m.of(t, file{"a.txt", letter}, file{"b.exe", "MZ"}), scanners.BudgetLimits{})
			if !slices.Contains(r.checks(), multivolume) || !r.has("a.txt", "") || !r.has("b.exe", "") {
				t.Errorf("%s (%s): want both names and %s, got %q%s", name, method, multivolume, r.checks(), r)
			}
		}
	}
	r := expand(t, cabMaker{flags: cabHasPrevious | cabHasNext}.of(t, file{"a.txt", letter}), scanners.BudgetLimits{})
	r.wantMember(t, "a.txt", letter)
	r.wantChecks(t)
	r = expand(t, cabMaker{flags: cabHasNext, method: cabMSZip}.of(t, file{"a.txt", string(noise(40_000))})[:30_000], scanners.BudgetLimits{})
	r.wantChecks(t, damaged)
}

func TestNamesInCabinets(t *testing.T) {
	r := expand(t, cabMaker{utf8: true}.of(t, file{"größe.exe", "x"}), scanners.BudgetLimits{})
	r.wantMember(t, "größe.exe", "x")
	r = expand(t, cabMaker{}.of(t, file{"gr\x94\xe1e.exe", "x"}), scanners.BudgetLimits{})
	r.wantMember(t, "größe.exe", "x") // code page 437
	r.wantMember(t, "gr\x94\xe1e.exe", "x")
}

func TestDamagedCabinets(t *testing.T) {
	whole := cabMaker{method: cabMSZip}.of(t, file{"a.txt", letter}, file{"b.txt", letter})
	change := func(b []byte, at int, v byte) []byte { b = bytes.Clone(b); b[at] = v; return b }
	for name, content := range map[string][]byte{
		"checksum":             cabMaker{method: cabMSZip, checksum: 1}.of(t, file{"a.txt", letter}),
		"cut in the data":      whole[:len(whole)-10],
		"cut in the files":     whole[:70],
		"cut in the folders":   whole[:40],
		"cut in the header":    whole[:20],
		"no folders":           change(whole, 26, 0),
		"no files":             change(whole, 28, 0),
		"more files":           change(whole, 28, 9),
		"blocks that are less": change(whole, 40, 0),
		"folder of a file":     change(whole, 44+8, 7),
		"window":               change(cabMaker{method: lzxMethod}.of(t, file{"a", "x"}), 43, 14),
		"window of Quantum":    change(change(whole, 42, cabQuantum), 43, 9),
		"not Quantum":          change(change(whole, 42, cabQuantum), 43, 10),
		"not MSZIP":            change(cabMaker{}.of(t, file{"a", "CKxx"}), 42, cabMSZip),
		"not LZX":              change(change(whole, 42, cabLZX), 43, 15),
		"not stored":           change(whole, 42, cabStored),
	} {
		r := expand(t, content, scanners.BudgetLimits{})
		if !slices.Contains(r.checks(), damaged) {
			t.Errorf("%s: got checks %q, want %s%s", name, r.checks(), damaged, r)
		}
	}
	r := expand(t, change(whole, 42, 7), scanners.BudgetLimits{})
	r.wantChecks(t, unsupported)
	r.wantMember(t, "a.txt", "")
	r = expand(t, []byte("ISc( and so on"), scanners.BudgetLimits{})
	r.wantChecks(t, unsupported)
}

func TestWhatIsBehindACabinet(t *testing.T) {
	whole := cabMaker{reserve: cabSigned}.of(t, file{"a.txt", letter})
	signed := bytes.Clone(whole)
	binary.LittleEndian.PutUint32(signed[40:], 0x100000)
	binary.LittleEndian.PutUint32(signed[44:], uint32(len(whole)))
	binary.LittleEndian.PutUint32(signed[48:], 50)
	sign := append([]byte{0x30, 48}, noise(48)...)
	r := expand(t, join(signed, sign), scanners.BudgetLimits{})
	r.wantMember(t, "a.txt", letter)
	r.wantChecks(t)
	hidden := zipOf(t, file{"letter.txt", letter})
	for name, content := range map[string][]byte{
		"it is not signed": join(whole, hidden), "behind the signature": join(signed, sign, hidden), "another": join(whole, cabMaker{}.of(t, file{"letter.txt", letter})),
	} {
		r := expand(t, content, scanners.BudgetLimits{})
		if !r.has("letter.txt", letter) || !slices.Contains(r.checks(), ambiguous) {
			t.Errorf("%s: want letter.txt and %s, got %q%s", name, ambiguous, r.checks(), r)
		}
	}
}

// Folders and files may lie over one another: what that costs is bounded.
func TestOverlapsInCabinetsAreBounded(t *testing.T) {
	whole := cabMaker{folders: 500, method: cabMSZip}.of(t, file{"a.txt", letter}, file{"b.txt", letter})
	r := expand(t, whole, scanners.BudgetLimits{})
	r.wantMember(t, "a.txt", letter)
	files := make([]file, 2000)
	for i := range files {
		files[i] = file{fmt.Sprint(i), "x"}
	}
	files[0].content = string(noise(1 << 20))
	many := cabMaker{method: lzxMethod}.of(t, files...)
	at := int(binary.LittleEndian.Uint32(many[16:]))
	for i := range files { // one begins before the other ends, at the end of the folder
		binary.LittleEndian.PutUint32(many[at:], 1000)
		binary.LittleEndian.PutUint32(many[at+4:], uint32(1<<20-2000+i/2))
		at += cabFileEntry + len(files[i].name) + 1
	}
	b := scanners.NewBudget(scanners.BudgetLimits{Bytes: 100 << 20}, eml.SpoolOptions{})
	_, err := New(Config{}).Expand(t.Context(), part(t, "a.cab", many), b, func(m *eml.Part) error { m.Release(); return nil })
	if !errors.Is(err, scanners.ErrBudget) {
		t.Errorf("got %v, want the budget used up", err)
	}
}
