package archive

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

func TestOpensImagesOfWindows(t *testing.T) {
	for _, name := range []string{"none.wim", "xpress.wim", "lzx.wim"} {
		r := expandIn(t.Context(), t, New(Config{}), name, fixture(t, name), scanners.BudgetLimits{})
		r.wantMember(t, "letter.txt", letter)
		r.wantMember(t, "empty.txt", "")
		for i := range 20 { // more names than one member has
			r.wantMember(t, fmt.Sprintf("dir/copy%02d.bin", i), strings.Repeat("MZ RASTEL HARMLESS TEST PAYLOAD 5d1f8c72\n", 30))
		}
		r.wantChecks(t)
	}
}

func TestImagesOfWindowsThatAreNotOpened(t *testing.T) {
	for name, check := range map[string]string{"solid.wim": unsupported, "part1.swm": multivolume, "part2.swm": multivolume} {
		r := expandIn(t.Context(), t, New(Config{}), name, fixture(t, name), scanners.BudgetLimits{})
		r.wantChecks(t, check)
		if name == "part1.swm" && !slices.ContainsFunc(r.members, func(m seenMember) bool { return slices.Contains(m.names, "dir/copy00.bin") }) {
			t.Errorf("%s: want all names, got%s", name, r)
		}
	}
}

// wimPlaces are where in the image without packing the table of streams and the directories are.
func wimPlaces(b []byte) (table, metadata int) {
	le := binary.LittleEndian
	table = int(le.Uint64(b[0x38:]))
	for at := table; ; at += wimEntry {
		if b[at+7]&wimMetadata != 0 {
			return table, int(le.Uint64(b[at+8:]))
		}
	}
}

func TestDamagedImagesOfWindows(t *testing.T) {
	plain, packed := fixture(t, "none.wim"), fixture(t, "lzx.wim")
	table, meta := wimPlaces(plain)
	change := func(b []byte, at int, v ...byte) []byte { b = bytes.Clone(b); copy(b[at:], v); return b }
	for name, content := range map[string][]byte{
		"cut in the header":     plain[:100],
		"cut in the table":      plain[:table+20],
		"cut in the streams":    packed[:wimHeader+20],
		"table far away":        change(plain, 0x38+6, 0x7f),
		"table behind all":      change(plain, 0x38+7, 0xff),
		"of another size":       change(plain, table+16, 1),
		"another hash":          change(plain, table+30, 'x', 'x'),
		"a byte of a stream":    change(plain, wimHeader+10, 'x'),
		"a byte of a packed":    change(packed, wimHeader+150, 'x', 'x'),
		"a byte of directories": change(plain, meta+200, 'x'),
		"chunks of no size":     change(packed, 0x14, 0, 0, 0),
		"chunks too large":      change(packed, 0x14, 0, 0, 0, 0x40),
		"chunks of no power":    change(packed, 0x14, 1),
	} {
		r := expand(t, content, scanners.BudgetLimits{})
		if !slices.Contains(r.checks(), damaged) {
			t.Errorf("%s: got checks %q, want %s%s", name, r.checks(), damaged, r)
		}
	}
	r := expand(t, change(packed, 0x12, 8), scanners.BudgetLimits{})
	r.wantChecks(t, unsupported)
}

// Whatever directories say, reading them ends, and with an error only of this package or the budget.
func FuzzWIMDirectories(f *testing.F) {
	plain := fixture(f, "none.wim")
	_, at := wimPlaces(plain)
	f.Add(plain[at : at+3000])
	f.Fuzz(func(t *testing.T, b []byte) {
		p := part(t, "a.wim", plain)
		o := newOpening(t.Context(), Config{}.withDefaults(), p, scanners.NewBudget(scanners.BudgetLimits{Members: 100}, eml.SpoolOptions{}), nil)
		w := &wim{o: o, streams: map[wimHash]bool{}, names: map[wimHash]*wimNames{}}
		if err := w.tree(b); err != nil && err != errCorrupt && !isBudget(err) {
			t.Errorf("got %v", err)
		}
		for _, n := range w.order {
			for _, s := range n.sets {
				if len(s) > maxNames || slices.ContainsFunc(s, func(s string) bool { return len(s) > maxWIMPath }) {
					t.Errorf("%d names %q", len(s), s)
				}
			}
		}
	})
}
