package sanitize

import (
	"slices"
	"strings"
	"testing"
	"time"

	"rastel/sanitize/eml"
)

// TestListsAreWhatTheirSourcesSay checks the two tiers that are defined by how many of four
// refuse an extension.
func TestListsAreWhatTheirSourcesSay(t *testing.T) {
	four := []string{"gmail", "outlook", "m365", "rspamd"}
	tiers := map[string][]string{}
	for _, l := range Lists() {
		if l.Date.After(time.Now()) {
			t.Errorf("list %s is of the future: %s", l.Name, l.Date)
		}
		for _, e := range l.Entries {
			n := 0
			for _, s := range e.Sources {
				if slices.Contains(four, s) {
					n++
				}
			}
			switch {
			case l.Name == "core" && n < 3, l.Name == "second" && n > 2:
				t.Errorf("%s in %s is refused by %d of %v", e.Text, l.Name, n, four)
			}
			tiers[l.Name] = append(tiers[l.Name], e.Text)
		}
	}
	for _, ext := range tiers["second"] {
		if slices.Contains(tiers["core"], ext) {
			t.Errorf("%s is in core and in second", ext)
		}
	}
	for _, ext := range tiers["desktop"] {
		if !slices.Contains(tiers["core"], ext) && !slices.Contains(tiers["second"], ext) && !slices.Contains(tiers["macro"], ext) {
			t.Errorf("%s is run by desktops and in no tier", ext)
		}
	}
}

func TestBadListsAreRefused(t *testing.T) {
	head := "# name: x\n# date: 2026-01-02\n# doc: d\n# source: s: t\n"
	if _, err := readList(head + "exe\ts\ta program\n"); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"":                        "no name",
		head:                      "no name, doc, date or entries",
		head + "exe\ts\n":         "line 5: 2 columns",
		head + "EXE\ts\tp\n":      "line 5: \"EXE\" is neither",
		head + ".exe\ts\tp\n":     "neither",
		head + "*\ts\tp\n":        "neither",
		head + "exe\tu\tp\n":      "unknown source \"u\"",
		head + "exe\t\tp\n":       "no source",
		head + "exe\ts\t\n":       "does not say",
		head + "a\ts\tp\na\ts\tp": "line 6: \"a\" is there twice",
		head + "# x: y\n":         "unknown key",
		"# date: 1.2.2026\n":      "cannot parse",
		"# source: s\n":           "has no text",
	} {
		if _, err := readList(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}

func TestMangledNames(t *testing.T) {
	for _, tt := range []struct{ name, want string }{
		{"report.xyz", "DEFANGED-report.DEFANGED-xyz"},
		{"Report.PDF", "DEFANGED-Report.DEFANGED-pdf"},
		{"invoice.pdf.exe", "DEFANGED-invoice.pdf.DEFANGED-exe"},
		{"a.mht", "DEFANGED-a.DEFANGED-mht"},
		{"a.txt.{3050F4D8-98B5-11CF-BB82-00AA00BDCE0B}", "DEFANGED-a.txt.DEFANGED-3050f4d8-98b5-11cf-bb82-00aa00bdce0b"},
		{"readme", "DEFANGED-readme"},
		{".bashrc", "DEFANGED-bashrc"},
		{"", "DEFANGED-attachment"},
		{"a." + strings.Repeat("x", 80), "DEFANGED-a." + strings.Repeat("x", 80)},
		{"x\u202efdp.exe", "DEFANGED-xfdp.DEFANGED-exe"},
		{"a.exe::$DATA", "DEFANGED-a.DEFANGED-exe"},
		{"Ärger.docm", "DEFANGED-Ärger.DEFANGED-docm"},
	} {
		got := MangledName([]string{tt.name})
		if got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.name, got, tt.want)
		}
		if again := MangledName([]string{got}); again != got {
			t.Errorf("%q: mangled twice it is %q", tt.name, again)
		}
		if safe := SafeName([]string{got}); safe != got {
			t.Errorf("%q: the safe name of %q is %q", tt.name, got, safe)
		}
	}
}

// TestTypeOfWhatIsRenamed: the declared type goes with a dangerous extension, but not that of a page
// or a picture, which would be shown no more.
func TestTypeOfWhatIsRenamed(t *testing.T) {
	for _, tt := range []struct{ media, name, renamed, mangled string }{
		{"application/onenote", "a.one", "application/octet-stream", "application/octet-stream"},
		{"application/x-msdownload", "a.txt", "application/octet-stream", "application/octet-stream"},
		{"text/html", "a.htm", "text/html", "application/octet-stream"},
		{"image/png", "CON.png", "image/png", "application/octet-stream"},
		{"text/plain", "a.pl", "text/plain", "application/octet-stream"},
	} {
		for i, want := range []string{tt.renamed, tt.mangled} {
			m := parsed(t, "Content-Type: "+tt.media+"; name="+tt.name+"\r\nContent-Disposition: attachment; filename="+tt.name+"\r\n\r\nx")
			edits := Rename(m.Root, SafeName(m.Root.Names))
			if i == 1 {
				edits = Mangle(m.Root)
			}
			patch, err := eml.NewPatch(m, edits)
			if err != nil {
				t.Fatal(err)
			}
			again := reparse(t, patch).Root
			if again.MediaType != want || len(again.Names) != 1 || !strings.HasPrefix(again.Names[0], "DEFANGED-") {
				t.Errorf("%s %s: became %s %q, want %s", tt.media, tt.name, again.MediaType, again.Names, want)
			}
			if i == 1 && Mangle(again) != nil || i == 0 && Rename(again, SafeName(again.Names)) != nil {
				t.Errorf("%s %s: changed a second time", tt.media, tt.name)
			}
		}
	}
}
