package ole

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"rastel/sanitize/eml"
	"rastel/scanners"
	"rastel/scanners/office"
)

// hashes are the hashes of macros that are told of a file.
func hashes(t *testing.T, content []byte, name string) (out []string) {
	t.Helper()
	list, err := Files{}.Expand(t.Context(), part(t, content, name), scanners.NewBudget(scanners.BudgetLimits{}, eml.SpoolOptions{}), func(m *eml.Part) error {
		m.Release()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range list {
		if f.Check == office.MacroHash {
			out = append(out, f.Detail)
		}
	}
	return out
}

// with is a storage with something else in it; nil takes something away.
func with(d dir, name string, what any) dir {
	d = maps.Clone(d)
	if d[name] = what; what == nil {
		delete(d, name)
	}
	return d
}

func TestHashOfMacros(t *testing.T) {
	const source = "Attribute VB_Name = \"Module1\"\r\nSub Sum()\r\nx = 1\r\nEnd Sub\r\n"
	vba := macros("Module1", "Module1", source)
	// as in docm and xlsm, in doc, in xls
	member := hashes(t, compoundFile(dir{"VBA": vba, "PROJECT": "ID={1}"}), "vbaProject.bin")
	if len(member) != 1 || len(member[0]) != 64 {
		t.Fatalf("hashes %q", member)
	}
	for name, d := range map[string]dir{
		"a.doc": {"WordDocument": "x", "Macros": dir{"VBA": vba, "PROJECT": "ID={2}"}},
		"a.xls": {"Workbook": biffRecord(0x809, bof8) + sheet("Sheet1", 0, 0), "_VBA_PROJECT_CUR": dir{"VBA": vba, "PROJECT": "ID={3}"}},
		"b.doc": {"Macros": dir{"VBA": vba}, "ObjectPool": dir{"_1": dir{"Macros": dir{"VBA": vba}}}},
	} {
		if got := hashes(t, compoundFile(d), name); !slices.Equal(got, member) {
			t.Errorf("%s: hashes %q, want %q", name, got, member)
		}
	}

	other := macros("Module1", "Module1", strings.Replace(source, "x = 1", "x = 2", 1))
	for name, d := range map[string]dir{
		"a changed byte of the source":      other,
		"another compiled program":          with(vba, "Module1", "Program"+compress(source)),
		"another cache":                     with(vba, "__SRP_0", "y"),
		"another cache of the project":      with(vba, "_VBA_PROJECT", "y"),
		"a byte moved between two streams":  with(with(vba, "_VBA_PROJECT", "xx"), "__SRP_0", ""),
		"one stream less":                   with(vba, "__SRP_0", nil),
		"something else said of the module": with(vba, "dir", macros("Module2", "Module1", source)["dir"]),
	} {
		if got := hashes(t, compoundFile(dir{"VBA": d}), "vbaProject.bin"); len(got) != 1 || got[0] == member[0] {
			t.Errorf("%s: hashes %q, want one that is not %q", name, got, member)
		}
	}
	if got := hashes(t, compoundFile(dir{"A": dir{"VBA": vba}, "B": dir{"VBA": other}}), "a.doc"); len(got) != 2 {
		t.Errorf("two projects: hashes %q", got)
	}

	for name, d := range map[string]dir{
		"a module that is not listed":  {"VBA": with(vba, "Module2", "program"+compress(source))},
		"a module without its source":  {"VBA": with(vba, "Module1", "program")},
		"a damaged source":             {"VBA": with(vba, "Module1", "program"+compress(source)[:20])},
		"a storage among modules":      {"VBA": with(vba, "Module2", dir{"a": "x"})},
		"a damaged list":               {"VBA": with(vba, "dir", compress("\x19\x00\x07"))},
		"one project of two not whole": {"A": dir{"VBA": vba}, "B": dir{"VBA": with(vba, "Module1", "program")}},
		"a form":                       {"VBA": vba, "UserForm1": dir{"\x03VBFrame": "VERSION 5.00", "f": "x", "o": "x"}},
		"macros of Excel 4.0":          {"Workbook": biffRecord(0x809, bof8) + sheet("Macro1", 2, 1), "_VBA_PROJECT_CUR": dir{"VBA": vba}},
	} {
		if got := hashes(t, compoundFile(d), "a.doc"); len(got) > 0 {
			t.Errorf("%s: hashes %q, want none", name, got)
		}
	}
}
