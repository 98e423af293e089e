package browser

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
)

// tabs is how many pages are shown at a time.
const tabs = 2

// visitAll shows pages, some at a time, and returns what each did. A page on which the browser
// hangs, or of which nothing can be told, has the error instead. Of pages that are equal, as
// many are that were made harmless, one is shown.
func visitAll(t *testing.T, pages []Page) ([]*Record, []error) {
	t.Helper()
	var different []Page
	index, which := map[string]int{}, make([]int, len(pages))
	for i, p := range pages {
		key := p.Type + "\n" + filepath.Ext(p.File) + "\n" + string(p.Content)
		if _, ok := index[key]; !ok {
			index[key] = len(different)
			different = append(different, p)
		}
		which[i] = index[key]
	}
	once, failed := visitEach(different)
	records, errs := make([]*Record, len(pages)), make([]error, len(pages))
	for i, j := range which {
		records[i], errs[i] = once[j], failed[j]
	}
	return records, errs
}

func visitEach(pages []Page) ([]*Record, []error) {
	records, errs := make([]*Record, len(pages)), make([]error, len(pages))
	next := make(chan int)
	var wg sync.WaitGroup
	for range tabs {
		wg.Go(func() {
			var tab *Tab
			for i := range next {
				tab, records[i], errs[i] = visit(tab, pages[i])
			}
			if tab != nil {
				tab.Close()
			}
		})
	}
	for i := range pages {
		next <- i
	}
	close(next)
	wg.Wait()
	return records, errs
}

// visit shows a page in a tab, or in a new one if there is none, and returns the tab if it can
// be used again.
func visit(tab *Tab, p Page) (*Tab, *Record, error) {
	if tab == nil {
		var err error
		if tab, err = chromium.NewTab(); err != nil {
			return nil, &Record{}, err
		}
	}
	rec, err := tab.Visit(p)
	if err != nil {
		tab.Close()
		return nil, rec, err
	}
	return tab, rec, nil
}

// A mode is a way to make a page harmless.
type mode struct {
	name   string
	policy string // empty: the default policy
	always string // the policy for what the first does not deliver
	plain  bool   // the result is plain text
}

const deliver = "\n  - name: deliver\n    when: \"true\"\n    then: accept\n"

var modes = []mode{
	{name: "defang", always: "rules:\n  - name: active\n    for: part\n    when: part.has(\"html/*\")\n    do: [defang]" + deliver},
	{name: "clean", policy: "rules:\n  - name: all\n    for: part\n    when: \"true\"\n    do: [clean]" + deliver},
	{name: "text", policy: "rules:\n  - name: all\n    for: part\n    when: \"true\"\n    do: [text]" + deliver, plain: true},
}

// apply sends messages through the program in a mode. held counts those that the default policy
// does not deliver at all; they are tried with a policy that does.
func (m *mode) apply(t *testing.T, messages [][]byte, open opener) (out []delivered, held int) {
	t.Helper()
	out = mailThrough(t, messages, m.policy, open)
	var again [][]byte
	var which []int
	for i, d := range out {
		if d.action != "accept" {
			again, which = append(again, messages[i]), append(which, i)
		}
	}
	if len(again) == 0 {
		return out, 0
	}
	if m.always == "" {
		t.Fatalf("mode %s: %d messages are not delivered, the first is\n%s", m.name, len(again), again[0])
	}
	for j, d := range mailThrough(t, again, m.always, open) {
		out[which[j]] = d
	}
	return out, len(again)
}

// A row of the report is what became of fragments in a mode.
type row struct {
	mode                                             string
	fragments, held, changed                         int
	scripts, active, sheets, passive, links, failure int
}

func (r *row) count(rec *Record, err error) {
	r.fragments++
	for n, list := range map[*int][]string{&r.scripts: rec.Scripts, &r.active: rec.Active, &r.sheets: rec.Sheets, &r.passive: rec.Passive, &r.links: rec.Links} {
		if len(list) > 0 {
			*n++
		}
	}
	if err != nil {
		r.failure++
	}
}

// report prints how many fragments did what.
func report(t *testing.T, rows []row) {
	t.Helper()
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "mode\tfragments\theld\tchanged\tscripts run\tactive loads\tstyle sheets\tpassive loads\tlinks\tfailures\t")
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t\n", r.mode, r.fragments, r.held, r.changed, r.scripts, r.active, r.sheets, r.passive, r.links, r.failure)
	}
	w.Flush()
	t.Logf("%s\n%s", chromium.Version, b.String())
}

// checkMode shows what a mode makes of pages, and fails for each that does what mail must not.
func checkMode(t *testing.T, m mode, names []string, pages [][]byte) row {
	t.Helper()
	out, held := m.apply(t, wrapAll(pages), shown)
	r := row{mode: m.name, held: held}
	show := make([]Page, len(out))
	for i, d := range out {
		show[i] = d.Page
		if d.patched {
			r.changed++
		}
		if m.plain && !strings.HasPrefix(d.Type, "text/plain") {
			t.Errorf("%s, mode %s: the message shows %q, want plain text\n%s", names[i], m.name, d.Type, d.Content)
		}
	}
	before := make([]string, len(pages))
	for i, p := range pages {
		before[i] = string(p)
	}
	checkShown(t, &r, names, before, show)
	return r
}

// checkShown shows pages that came through the program, counts what they do, and fails for each
// that does what mail must not.
func checkShown(t *testing.T, r *row, names, before []string, show []Page) {
	t.Helper()
	records, errs := visitAll(t, show)
	passive := map[string]bool{}
	for i, rec := range records {
		r.count(rec, errs[i])
		for _, p := range append(rec.Sheets, rec.Passive...) {
			passive[strings.ReplaceAll(p, chromium.server.addr, "here")] = true
		}
		if errs[i] != nil || rec.Fired() {
			t.Errorf("%s, mode %s: %v\n%v\nbefore: %.3000s\nafter: %.3000s", names[i], r.mode, errs[i], rec, before[i], show[i].Content)
		}
	}
	t.Logf("pictures and style sheets that the %d pages load:\n%.8000s", len(show), strings.Join(slices.Sorted(maps.Keys(passive)), "\n"))
}

// minFires is how many fragments of the corpus must fire when nothing is done to them: so that
// the check of the others cannot become empty unnoticed.
const minFires = 50

func TestHostileFragmentsOfTheCorpusDoNothing(t *testing.T) {
	needCorpus(t)
	var names []string
	var pages [][]byte
	all := fragments(t, "xss", 206)
	for _, f := range all {
		names, pages = append(names, f.ID), append(pages, f.page())
	}
	rows := []row{checkUntouched(t, all)}
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) { rows = append(rows, checkMode(t, m, names, pages)) })
	}
	report(t, rows)
}

// checkUntouched shows that the check can fail: it shows the fragments as they are.
func checkUntouched(t *testing.T, all []*fragment) row {
	t.Helper()
	pages := make([]Page, len(all))
	for i, f := range all {
		pages[i] = Page{Type: html, Content: f.page()}
	}
	r := row{mode: "untouched"}
	records, errs := visitAll(t, pages)
	fired := 0
	for i, rec := range records {
		r.count(rec, errs[i])
		if errs[i] != nil {
			t.Logf("%s: %v", all[i].ID, errs[i])
		}
		script := len(rec.Scripts) > 0 || strings.Contains(rec.String(), "load: Script ")
		switch {
		case script && all[i].Fires:
			fired++
		case script:
			t.Logf("%s runs here, and did not when the corpus was made: %.200q", all[i].ID, all[i].HTML)
		case all[i].Fires:
			t.Logf("%s does not run here, and did when the corpus was made: %.200q", all[i].ID, all[i].HTML)
		}
	}
	if fired < minFires {
		t.Errorf("%d fragments run when nothing is done to them, want at least %d: the check does not see them", fired, minFires)
	}
	return r
}
