package policy

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

const listRule = "rules: [{name: x, for: part, when: 'part.inList(\"mine\")', then: quarantine}]\n"

func TestListsMatchNamesAndTypes(t *testing.T) {
	for _, tt := range []struct {
		pattern, name, media string
		want                 bool
	}{
		{"*.exe", "a.exe", "", true},
		{"*.exe", "A.EXE. ", "", true},
		{"*.EXE", "a.exe", "", true},
		{"*.exe", `dir\a.exe`, "", true},
		{"*.exe", "a.exe.txt", "", false},
		{"*.exe", "aexe", "", false},
		{"*.exe", ".exe", "", true},
		{"*.tar.gz", "a.tar.gz", "", true},
		{"*.tar.gz", "a.gz", "", false},
		{"*exe", "aexe", "", true},
		{"happy99.exe", "Happy99.exe", "", true},
		{"happy99.exe", "unhappy99.exe", "", false},
		{"love-letter*.vbs", "LOVE-LETTER-FOR-YOU.TXT.vbs", "", true},
		{"[ab].zip", "b.zip", "", true},
		{"[ab].zip", "c.zip", "", false},
		{`\*.exe`, "*.exe", "", true},
		{`\*.exe`, "a.exe", "", false},
		{"*", "a", "", true},
		{"message/*", "", "message/partial", true},
		{"application/x-msdownload", "a.txt", "application/x-msdownload", true},
		{"application/x-msdownload", "a.txt", "application/x-msdownload-2", false},
		{"*.exe", "b.sb.exe", "", true}, // by a reading of the name that is given below
		{"*.com", "read.exe", "", true},
	} {
		m := parse(t, fmt.Sprintf("Content-Type: %s\nContent-Disposition: attachment; filename=%q\n\nx\n", tt.media, tt.name))
		p, err := Load("x.yaml", []byte("lists: {mine: ["+fmt.Sprintf("%q", tt.pattern)+"]}\n"+listRule), Options{Forms: func(string) []string { return []string{"read.com"} }})
		if err != nil {
			t.Fatal(err)
		}
		if tt.name != "read.exe" {
			p.forms = nil
		}
		if got := p.Decide(m, scanners.Report{}).Action == Quarantine; got != tt.want {
			t.Errorf("%q, %q %q: %v, want %v", tt.pattern, tt.name, tt.media, got, tt.want)
		}
	}
}

func TestListsOfAPolicyTakeThePlaceOfThoseBuiltIn(t *testing.T) {
	m := parse(t, threeParts) // has Setup.EXE
	for text, want := range map[string]Action{
		"":                         Quarantine,
		"lists: {mine: []}\n":      Accept,
		"lists: {other: [a.b]}\n":  Quarantine,
		"lists: {mine: [a.b]}\n":   Accept,
		"lists: {mine: ['*e']}\n":  Quarantine,
		"lists: {mine: ['*/x-*']}": Accept,
	} {
		p, err := Load("x.yaml", []byte(text+"\n"+listRule), Options{Lists: []List{{Name: "mine", Patterns: []string{"*.exe"}}}})
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if v := p.Decide(m, scanners.Report{}); v.Action != want {
			t.Errorf("%q: %s, want %s\n%s", text, v.Action, want, traceOf(v))
		}
	}
}

func TestListFiles(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "good"), "\n# a comment\r\n  *.exe  \r\nname with blanks.doc\n")
	write(t, filepath.Join(dir, "bad"), "*.exe\n[\n\na/b/c\n")
	write(t, filepath.Join(dir, "latin"), "*.\xe9\n")
	write(t, filepath.Join(dir, "large"), strings.Repeat("#\n", maxListFile))
	write(t, filepath.Join(dir, "globs"), strings.Repeat("?*\n", maxGlobs+1))
	write(t, filepath.Join(dir, "many"), strings.Repeat("a\n", maxPatterns+1))
	for _, tt := range []struct{ file, want string }{
		{"good", ""},
		{filepath.Join(dir, "good"), ""},
		{"bad", dir + "/bad:2:1: \"[\" is no pattern\n" + dir + "/bad:4:1: \"a/b/c\" is neither"},
		{"latin", "policy.yaml:1:23: " + dir + "/latin is no text in UTF-8"},
		{"large", "policy.yaml:1:23: " + dir + "/large has more than 1048576 bytes"},
		{"none", "policy.yaml:1:23: stat " + dir + "/none: no such file"},
		{".", "policy.yaml:1:23: " + dir + " is no regular file"},
		{"globs", dir + "/globs:1001:1: the lists have more than 1000 patterns that are more"},
		{"many", dir + "/many:50001:1: the lists have more than 50000 patterns"},
	} {
		file := filepath.Join(dir, "policy.yaml")
		write(t, file, "lists: {mine: [{file: "+tt.file+"}]}\n"+listRule)
		p, err := LoadFile(file, Options{})
		if tt.want == "" {
			if err != nil || p.Decide(parse(t, threeParts), scanners.Report{}).Action != Quarantine {
				t.Errorf("%s: %v", tt.file, err)
			}
		} else if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s: got %v\nwant %s", tt.file, err, tt.want)
		}
	}
}

func TestVersionCoversListFiles(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "policy.yaml")
	write(t, file, "lists: {mine: [{file: list}]}\n"+listRule)
	seen := map[string]bool{}
	for _, text := range []string{"a", "b", "a"} {
		write(t, filepath.Join(dir, "list"), text)
		p, err := LoadFile(file, Options{})
		if err != nil {
			t.Fatal(err)
		}
		seen[p.Version] = true
	}
	if len(seen) != 2 {
		t.Errorf("versions %v, want two", seen)
	}
}

func TestWatchSeesChangesOfLists(t *testing.T) {
	dir, lists := t.TempDir(), t.TempDir()
	file, list := filepath.Join(dir, "policy.yaml"), filepath.Join(lists, "list")
	write(t, file, acceptAll)
	signal := loadSignal{slog.DiscardHandler, make(chan struct{}, 10)}
	l, err := NewLive(file, Options{}, slog.New(signal))
	if err != nil {
		t.Fatal(err)
	}
	write(t, list, "*.exe")
	write(t, file, "lists: {mine: [{file: "+list+"}]}\n"+listRule) // read when the watch begins
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		if err := l.Watch(ctx); err != nil {
			t.Error(err)
		}
	})
	defer done.Wait()
	defer cancel()
	for _, want := range []Action{Quarantine, Accept} {
		select {
		case <-signal.loaded:
		case <-time.After(10 * time.Second):
			t.Fatal("the change was not noticed")
		}
		if got := l.Load().Decide(parse(t, threeParts), scanners.Report{}).Action; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		write(t, list, "*.com")
	}
	os.Remove(list)
	if err := l.Reload(); err == nil || l.Load().Decide(parse(t, threeParts), scanners.Report{}).Action != Accept {
		t.Errorf("without its list the policy is loaded: %v", err)
	}
}

// TestNamesThatCostTooMuchFail: thousands of long names, each compared with patterns that
// look everywhere in them.
func TestNamesThatCostTooMuchFail(t *testing.T) {
	m := parse(t, threeParts)
	for range 400 {
		member(t, m, "1.3", strings.Repeat("ab", 2000), "x")
	}
	var globs strings.Builder
	for i := range maxGlobs {
		fmt.Fprintf(&globs, "'*a*b*c%d',", i)
	}
	p := load(t, "lists: {mine: ["+globs.String()+"]}\n"+listRule)
	start := time.Now()
	v := p.Decide(m, scanners.Report{})
	if v.Action != TempFail || !strings.Contains(traceOf(v), errCompared.Error()) {
		t.Errorf("got %s\n%s", v.Action, traceOf(v))
	}
	t.Logf("took %v", time.Since(start))
}

func TestEndingsOfManyListsAreQuick(t *testing.T) {
	l := &list{}
	for i := range maxPatterns {
		l.add(fmt.Sprintf("*.x%d", i))
	}
	p := &part{Part: &eml.Part{Names: []string{strings.Repeat(".", 4096)}}, facts: &facts{}}
	start := time.Now()
	for range 1000 {
		if ok, err := p.inList([]*list{l}); ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	t.Logf("took %v", time.Since(start))
}
