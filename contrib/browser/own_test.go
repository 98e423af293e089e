package browser

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// ownFragments has one attack a file, with a header that says what would happen:
//
//	why: the attack, and its source
//	fires: script     runs a script in Chromium when nothing is done to it
//	       active     loads or leads to what it must not
//	       sheet      loads a style sheet
//	       passive    loads a picture
//	       nothing    nothing: it is meant for another client, or for what comes after a change
const ownFragments = "../../testdata/html"

// An attack is one of our own fragments.
type attack struct{ name, fires, html string }

func attacks(t *testing.T) []*attack {
	t.Helper()
	files, err := filepath.Glob(ownFragments + "/*.html")
	if err != nil || len(files) < 100 {
		t.Fatalf("%d files in %s, %v", len(files), ownFragments, err)
	}
	var all []*attack
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		header, html, ok := bytes.Cut(data, []byte("\n\n"))
		why, fires, ok2 := strings.Cut(string(header), "\nfires: ")
		if !ok || !ok2 || !strings.HasPrefix(why, "why: ") {
			t.Fatalf("%s: the header is not why and fires", name)
		}
		all = append(all, &attack{filepath.Base(name), fires, strings.TrimSuffix(string(html), "\n")})
	}
	return all
}

// contexts are the places where a fragment may stand. Parsers read it differently in each.
var contexts = []struct{ name, before, after string }{
	{"body", "", ""},
	{"svg", "<svg>", "</svg>"},
	{"math", "<math><mtext>", "</mtext></math>"},
	{"table", "<table><tr>", "</tr></table>"},
	{"noscript", "<noscript>", "</noscript>"},
	{"style", "<style>", "</style>"},
	{"comment", "<!-- ", " -->"},
	{"textarea", "<textarea>", "</textarea>"},
	{"title", "<title>", "</title>"},
	{"select", "<select><option>", "</option></select>"},
	{"template", "<template>", "</template>"},
	{"attribute", "<p title=\"", "\">x</p>"},
}

// fewContexts are those for what is no script: the names in contexts of where it may stand.
var fewContexts = map[string]bool{"body": true, "svg": true, "noscript": true, "select": true}

// TestOwnFragmentsDoWhatTheySay shows that the fragments are attacks, and that the check sees
// them.
func TestOwnFragmentsDoWhatTheySay(t *testing.T) {
	needBrowser(t)
	all := attacks(t)
	pages := make([]Page, len(all))
	for i, a := range all {
		pages[i] = Page{Type: html, Content: inBody(a.html)}
	}
	records, errs := visitAll(t, pages)
	for i, a := range all {
		if got := did(records[i]); errs[i] != nil || got != a.fires {
			t.Errorf("%s: %v: it does %q, want %q\n%v\n%.1000s", a.name, errs[i], got, a.fires, records[i], a.html)
		}
	}
}

// did is the worst that a page did.
func did(r *Record) string {
	switch {
	case len(r.Scripts) > 0:
		return "script"
	case len(r.Active) > 0:
		return "active"
	case len(r.Sheets) > 0:
		return "sheet"
	case len(r.Passive) > 0:
		return "passive"
	}
	return "nothing"
}

func TestOwnFragmentsDoNothing(t *testing.T) {
	needBrowser(t)
	var rows []row
	for _, m := range modes {
		var names []string
		var pages [][]byte
		for _, a := range attacks(t) {
			for _, c := range contexts {
				// Plain text is not parsed, so that the place matters little.
				if c.name == "body" || !m.plain && (a.fires == "script" || fewContexts[c.name]) {
					names = append(names, fmt.Sprintf("%s in %s", a.name, c.name))
					pages = append(pages, inBody(c.before+a.html+c.after))
				}
			}
		}
		t.Run(m.name, func(t *testing.T) { rows = append(rows, checkMode(t, m, names, pages)) })
	}
	report(t, rows)
}
