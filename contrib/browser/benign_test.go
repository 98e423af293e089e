package browser

import (
	"bytes"
	"fmt"
	"image"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// widths are those of the windows that pictures are taken of: a narrow one, where newsletters
// change their layout, and a wide one.
var widths = []int64{600, 1200}

// pictures takes pictures of pages, at each width.
func pictures(t *testing.T, pages []Page) [][]*image.RGBA {
	t.Helper()
	out := make([][]*image.RGBA, len(pages))
	next := make(chan int)
	var wg sync.WaitGroup
	for range tabs {
		wg.Go(func() {
			tab, err := chromium.NewTab()
			if err != nil {
				t.Error(err)
			}
			for i := range next {
				for _, w := range widths {
					if err == nil {
						var m *image.RGBA
						if m, err = tab.Picture(pages[i], w); err != nil {
							t.Error(err)
						}
						out[i] = append(out[i], m)
					}
				}
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
	if t.Failed() {
		t.FailNow()
	}
	return out
}

// A compared is a template before and after, and how much of its pictures differs.
type compared struct {
	*template
	after     delivered
	different []float64 // of the pixels, at each width
}

// compare takes the templates through the program and pictures of them before and after.
func compare(t *testing.T, policy string) []compared {
	t.Helper()
	all := templates(t)
	var before [][]byte
	var pages []Page
	for _, f := range all {
		before = append(before, f.Content)
		pages = append(pages, Page{Type: html, Content: f.Content})
	}
	after := through(t, before, policy)
	for i, d := range after {
		if d.action != "accept" {
			t.Fatalf("%s: %s, want it delivered\n%s", all[i].File, d.action, strings.Join(d.findings, "\n"))
		}
		pages = append(pages, d.Page)
	}
	shots := pictures(t, pages)
	var out []compared
	for i, f := range all {
		c := compared{template: f, after: after[i]}
		for w := range widths {
			a, b := shots[i][w], shots[len(all)+i][w]
			all := a.Bounds().Union(b.Bounds())
			c.different = append(c.different, float64(Different(a, b))/float64(all.Dx()*all.Dy()))
		}
		out = append(out, c)
	}
	return out
}

func TestTemplatesLookTheSame(t *testing.T) {
	needCorpus(t)
	changed := 0
	for _, c := range compare(t, "") {
		for w, d := range c.different {
			if d > 0 {
				t.Errorf("%s: %.4f of the pixels differ at width %d", c.File, d, widths[w])
			}
		}
		if !bytes.Equal(c.Content, c.after.Content) {
			changed++
			t.Logf("%s: changed\n%s", c.File, strings.Join(c.after.findings, "\n"))
		}
	}
	t.Logf("%d templates at widths %v; %d of them changed", len(templates(t)), widths, changed)
}

// TestPicturesTell shows that the comparison can fail: a single letter is seen.
func TestPicturesTell(t *testing.T) {
	needBrowser(t)
	shots := pictures(t, []Page{{Type: html, Content: inBody("<p>a letter")}, {Type: html, Content: inBody("<p>a lettar")}, {Type: html, Content: inBody("<p>a letter")}})
	for w, width := range widths {
		if Different(shots[0][w], shots[1][w]) == 0 {
			t.Errorf("width %d: pictures of different pages are equal", width)
		}
		if n := Different(shots[0][w], shots[2][w]); n > 0 {
			t.Errorf("width %d: %d pixels of the same page differ", width, n)
		}
	}
}

// maxClean is how much of a template's picture may differ after it was written anew. What clean
// does not let through may show.
const maxClean = 0.001

func TestCleanTemplatesLookTheSame(t *testing.T) {
	needCorpus(t)
	worst, where, same, anew := 0.0, "", 0, 0
	for _, c := range compare(t, modes[1].policy) {
		if !bytes.Equal(c.Content, c.after.Content) {
			anew++
		}
		for w, d := range c.different {
			if d == 0 {
				same++
			}
			if d > worst {
				worst, where = d, fmt.Sprintf("%s at %d", c.File, widths[w])
			}
			if d > maxClean {
				t.Errorf("%s: %.4f of the pixels differ at width %d, want at most %v", c.File, d, widths[w], maxClean)
			}
		}
	}
	t.Logf("%d templates written anew; %d pictures of %d are identical; the worst differs in %.5f of its pixels: %s",
		anew, same, 35*len(widths), worst, where)
	if anew == 0 {
		t.Error("no template was written anew: nothing was compared")
	}
}

// elsewhere are fragments that are active in other clients than Chromium, in disguises that
// otherClients does not see.
var elsewhere = map[string]string{
	"bluemonday-0071": "a name with a handler's in it was one for Gecko of old",
	"bluemonday-0099": "expression with a comment in it runs in Internet Explorer",
	"bluemonday-0113": "-moz-binding in escapes",
}

// otherClients is what other clients than Chromium run, or ran.
var otherClients = regexp.MustCompile(`(?i)expression\s*\(|behavior\s*:|-moz-binding|<base|<object|<embed|<applet|<form|<i?frame|vbscript:|javascript:|data:text/`)

func TestBenignFragmentsAreNotTouched(t *testing.T) {
	needCorpus(t)
	all := fragments(t, "benign-fragment", 334)
	var before [][]byte
	for _, f := range all {
		before = append(before, f.page())
	}
	var touched []int
	var pages []Page
	after := through(t, before, "")
	for i, d := range after {
		if d.action != "accept" || !bytes.Equal(d.Content, before[i]) {
			touched, pages = append(touched, i), append(pages, Page{Type: html, Content: before[i]})
		}
	}
	records, errs := visitAll(t, pages)
	for j, i := range touched {
		why := fmt.Sprintf("%s: %s\n%s\n%v", all[i].ID, after[i].action, all[i].HTML, strings.Join(after[i].findings, "\n"))
		switch {
		case errs[j] != nil:
			t.Errorf("%s\n%v", why, errs[j])
		case records[j].Fired():
			t.Logf("%s\nis active in Chromium: %v", why, records[j])
		case elsewhere[all[i].ID] != "":
			t.Logf("%s\nis active in other clients: %s", why, elsewhere[all[i].ID])
		case otherClients.MatchString(all[i].HTML):
			t.Logf("%s\nis active in other clients", why)
		default:
			t.Errorf("%s\nis not active, and was touched: %.2000q", why, after[i].Content)
		}
	}
	t.Logf("%d fragments, %d of them touched", len(all), len(touched))
}
