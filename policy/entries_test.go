package policy

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"rastel/scanners"
)

func TestAddressLists(t *testing.T) {
	for _, tt := range []struct {
		entry, text string
		want        bool
	}{
		{"ann@example.org", "Ann@Example.ORG", true},
		{"Ann@Example.ORG", "ann@example.org", true},
		{"ann@example.org", "bann@example.org", false},
		{"ann@example.org", "example.org", false},
		{"ann@example.org", "Ann <ann@example.org>", true},
		{"ann@example.org", `"ann@example.org" <eve@example.net>`, false},
		{"ann@example.org", "<ann@example.org", true},
		{"example.org", "x@example.org", true},
		{"@example.org", "x@example.org", true},
		{"example.org", "example.org", true},
		{"example.org", "example.org.", true},
		{"example.org", "x@mail.example.org", false},
		{"example.org", "x@badexample.org", false},
		{".example.org", "x@example.org", true},
		{".example.org", "x@a.mail.example.org", true},
		{".example.org", "mail.example.org", true},
		{".example.org", "x@badexample.org", false},
		{".org", "x@example.org", true},
		{"*@example.org", "x/y@example.org", true},
		{"*@example.org", "x@mail.example.org", false},
		{"info@*", "INFO@example.net", true},
		{"mail?.example.org", "x@mail1.example.org", true},
		{"mail?.example.org", "mail1.example.org", true},
		{"mail?.example.org", "x@mail12.example.org", false},
		{"<>", "", true},
		{"<>", "x@example.org", false},
		{"example.org", "", false},
		{".example.org", "", false},
		{"example.org", "x@", false},
		{"example.org", "@", false},
		{"example.org", strings.Repeat("x", 5000) + "@example.org", true},
		{"example.org", strings.Repeat("x", maxAddress-len("@example.org")) + "@example.org.evil.example", false},
		{".example.org", "x@" + strings.Repeat("a.", 400) + "example.org", true},
		{".a.example.org", "x@" + strings.Repeat("b", 400) + ".a.example.org", true},
		{".example.org", "x@" + strings.Repeat("b", 400) + "example.org", false},
		{"<>", strings.Repeat("x", 5000), false},
	} {
		l := &addresses{}
		if wrong := l.add(tt.entry); wrong != "" {
			t.Fatal(wrong)
		}
		if got := l.holds(tt.text); got != tt.want {
			t.Errorf("%q in a list with %q: %v, want %v", tt.text, tt.entry, got, tt.want)
		}
	}
}

func TestDomainOfAnAddress(t *testing.T) {
	for text, want := range map[string]string{
		"ann@Example.ORG": "example.org", "Ann <ann@example.org>": "example.org", "a@b@c": "c", "": "", "ann": "", "ann@": "", "ann@example.org.": "example.org",
		"<a@b> <c@d>": "d",
	} {
		if got := domain(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestHashAndTextLists(t *testing.T) {
	h := &hashes{}
	sum := strings.Repeat("0a", 32)
	for _, text := range []string{sum, strings.ToUpper(sum) + "  a file", strings.Repeat("ff", 32)} {
		if wrong := h.add(text); wrong != "" {
			t.Error(wrong)
		}
	}
	h.sort()
	if !h.holds(sum) || !h.holds(strings.ToUpper(sum)) || h.holds(sum+"0") || h.holds("") || h.holds(strings.Repeat("0b", 32)) || len(h.sorted) != 2 {
		t.Errorf("wrong: %x", h.sorted)
	}
	l := &texts{}
	for _, text := range []string{"Hello  World", "*/admin*", "?x"} {
		if wrong := l.add(text); wrong != "" {
			t.Error(wrong)
		}
	}
	for text, want := range map[string]bool{"hello world": true, " HELLO\tWORLD ": true, "hello": false, "a/b/ADMIN/c": true, "admin": false, "ax": true, "x": false, "": false} {
		if got := l.holds(text); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

// TestEntryFiles: limits of the files, and errors with the lines of the file.
func TestEntryFiles(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "good"), "# ours\nexample.org\n\n  .example.net  \r\n")
	write(t, filepath.Join(dir, "bad"), "example.org\nann@\n# x\n[\n")
	write(t, filepath.Join(dir, "long"), strings.Repeat("a", maxEntry+1)+"\n")
	write(t, filepath.Join(dir, "globs"), strings.Repeat("*@a\n", maxGlobs+1))
	for _, tt := range []struct{ file, want string }{
		{"good", ""},
		{"bad", dir + "/bad:2:1: \"ann@\" is neither an address nor a domain\n" + dir + "/bad:4:1: \"[\" is no pattern"},
		{"long", dir + "/long:1:1: \"" + strings.Repeat("a", 78) + "\"... has more than 320 bytes"},
		{"globs", "policy.yaml:1:23: the lists have more than 1000 patterns"},
		{"none", "policy.yaml:1:31: stat " + dir + "/none: no such file"},
	} {
		file := filepath.Join(dir, "policy.yaml")
		write(t, file, "addresses: {partners: [{file: "+tt.file+"}]}\nrules: [{name: x, then: discard, when: 'addressIn(sender, \"partners\")'}]")
		p, err := LoadFile(file, Options{})
		if tt.want == "" {
			if err != nil || p.Decide(parse(t, threeParts), scanners.Report{}).Action != Discard {
				t.Errorf("%s: %v", tt.file, err)
			}
		} else if err == nil || !strings.HasPrefix(err.Error(), tt.want[:min(len(tt.want), 80)]) {
			t.Errorf("%s: got %v\nwant %s", tt.file, err, tt.want)
		}
	}
}

// TestMillionEntries: lists as large as they may be are loaded, asked, and one more entry is refused.
func TestMillionEntries(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	dir := t.TempDir()
	for _, tt := range []struct {
		key, when string
		entry     func(i int) string
	}{
		{"addresses", `addressIn("user999999@host999999.example.org", "big") and not addressIn("user1@host2.example.org", "big")`, func(i int) string { return fmt.Sprintf("user%d@host%d.example.org", i, i) }},
		{"hashes", fmt.Sprintf(`hashIn("%x", "big") and not hashIn("%x", "big")`, sha256.Sum256([]byte("999999")), sha256.Sum256([]byte("x"))),
			func(i int) string { return fmt.Sprintf("%x", sha256.Sum256(fmt.Append(nil, i))) }},
		{"texts", `textIn("text number 999999", "big") and not textIn("text", "big")`, func(i int) string { return fmt.Sprintf("text number %d", i) }},
	} {
		var b strings.Builder
		for i := range maxEntries {
			b.WriteString(tt.entry(i) + "\n")
		}
		write(t, filepath.Join(dir, "big"), b.String())
		file := filepath.Join(dir, "policy.yaml")
		write(t, file, tt.key+": {big: [{file: big}]}\nrules:\n- name: x\n  then: discard\n  when: |\n    "+tt.when)
		before := heap()
		start := time.Now()
		p, err := LoadFile(file, Options{})
		if err != nil {
			t.Fatal(err)
		}
		took, used := time.Since(start), heap()-before
		m := parse(t, threeParts)
		start = time.Now()
		v := p.Decide(m, scanners.Report{})
		t.Logf("%s: %d bytes of file loaded in %v, %d MB in memory; both looked up in %v", tt.key, b.Len(), took, used>>20, time.Since(start))
		if v.Action != Discard {
			t.Errorf("%s: got %s\n%s", tt.key, v.Action, traceOf(v))
		}
		runtime.KeepAlive(p)
		write(t, filepath.Join(dir, "big"), b.String()+tt.entry(maxEntries)+"\n")
		if _, err := LoadFile(file, Options{}); err == nil || !strings.Contains(err.Error(), "big:1000001:1: the lists have more than 1000000 entries") {
			t.Errorf("%s: one more: %v", tt.key, err)
		}
	}
}

func heap() int64 {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return int64(s.HeapAlloc)
}

// TestTextsThatCostTooMuchFail: many texts, each compared with many patterns.
func TestTextsThatCostTooMuchFail(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	var b strings.Builder
	for i := range maxGlobs {
		fmt.Fprintf(&b, "'*a*b*c%d',", i)
	}
	m := parse(t, "Subject: "+strings.Repeat("ab", 400)+"\n"+strings.TrimPrefix(threeParts, "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\n"))
	for _, call := range []string{"texts", "addresses"} {
		p := load(t, call+": {mine: ["+b.String()+"]}\nrules: [{name: x, then: accept, when: 'any(1..100000, "+map[string]string{"texts": "textIn", "addresses": "addressIn"}[call]+"(subject, \"mine\"))'}]")
		if v := p.Decide(m, scanners.Report{}); v.Action != TempFail || !strings.Contains(traceOf(v), errCompared.Error()) {
			t.Errorf("%s: got %s\n%s", call, v.Action, traceOf(v))
		}
	}
}

// TestWatchSeesChangesOfEntryFiles: the lists of addresses are read anew like all others.
func TestWatchSeesChangesOfEntryFiles(t *testing.T) {
	dir := t.TempDir()
	file, list := filepath.Join(dir, "policy.yaml"), filepath.Join(dir, "list")
	write(t, list, "example.org")
	write(t, file, "addresses: {partners: [{file: list}]}\nrules: [{name: x, then: discard, when: 'addressIn(sender, \"partners\")'}]")
	signal := loadSignal{slog.DiscardHandler, make(chan struct{}, 10)}
	l, err := NewLive(file, Options{}, slog.New(signal))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		if err := l.Watch(ctx); err != nil {
			t.Error(err)
		}
	})
	defer done.Wait()
	defer cancel()
	m := parse(t, threeParts)
	if v := l.Load().Decide(m, scanners.Report{}); v.Action != Discard {
		t.Errorf("got %s", v.Action)
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		write(t, list, "example.com") // again, until the watch has begun
		select {
		case <-signal.loaded:
		case <-time.After(time.Second):
			if time.Now().Before(deadline) {
				continue
			}
			t.Fatal("the change was not noticed")
		}
		break
	}
	if v := l.Load().Decide(m, scanners.Report{}); v.Action != Accept {
		t.Errorf("got %s", v.Action)
	}
	_ = os.Remove(list)
}
