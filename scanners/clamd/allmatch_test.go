package clamd

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"rastel/sanitize/eml"
	"rastel/scanners/scannertest"
)

// details are the signatures that were found, sorted, and the check that says that these are all.
func details(findings []eml.Finding) (list []string, all bool) {
	for _, f := range findings {
		if f.Check == "clamd/all" {
			all = true
		} else {
			list = append(list, f.Check+" "+f.Detail)
		}
	}
	slices.Sort(list)
	return list, all
}

// A signature that hides another one is what clamd itself cannot help, so it is asked for all.
func TestRealClamdTellsAllSignatures(t *testing.T) {
	r := startClamd(t, "DetectPUA yes")
	r.more(t, "PUA.Harmless:0:*:"+hexOf("a packed program"), "Bad.One:0:*:"+hexOf("some malware"), "Bad.Two:0:*:"+hexOf("other malware"))
	content := "this is a packed program, some malware, and other malware"
	plain := newScanner(t, Config{Addresses: []string{r.unix}})
	got, all := details(scan(t, plain, content))
	if len(got) != 1 || all {
		t.Errorf("without a directory: got %q, all %v, want the first only", got, all)
	}
	dir := t.TempDir()
	for _, addr := range []string{r.unix, r.tcp} {
		s := newScanner(t, Config{Addresses: []string{addr}, AllMatchDir: dir})
		want := []string{"clamd/malware Bad.One.UNOFFICIAL", "clamd/malware Bad.Two.UNOFFICIAL", "clamd/pua PUA.Harmless.UNOFFICIAL"}
		if got, all := details(scan(t, s, content)); !slices.Equal(got, want) || !all {
			t.Errorf("%s: got %q, all %v, want %q and all", addr, got, all, want)
		}
		if got, all := details(scan(t, s, "nothing of all that")); len(got) != 0 || all {
			t.Errorf("%s: got %q, all %v of harmless content, want nothing", addr, got, all)
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func scan(t *testing.T, s *Scanner, content string) []eml.Finding {
	t.Helper()
	findings, err := s.Scan(t.Context(), file(t, content))
	if err != nil {
		t.Error(err)
	}
	return findings
}

// What was found first stays, and the error tells that there may be more.
func TestDoesNotTakeOneSignatureForAll(t *testing.T) {
	const path = "PATH"
	for _, tt := range []struct{ reply, want string }{
		{"PATH: X FOUND\x00", "X"},
		{"PATH: X FOUND\x00PATH: Y FOUND\x00", "X Y"},
		{"PATH: OK\x00", ""},
		{"PATH: Y FOUND\x00", ""},
		{"PATH: X FOUND\x00PATH: OK\x00", ""},
		{"PATH: X FOUND", ""},
		{"PATH: X FOUND\n", ""},
		{"PATH: X FOUND\x00PATH: Y", ""},
		{"PATH: X FOUND\x00\x00", ""},
		{"other: X FOUND\x00", ""},
		{"PATH: File path check failure: Permission denied. ERROR\x00", ""},
		{"PATH: ALLMATCHSCAN command disabled by clamd configuration. ERROR\x00", ""},
		{"PATH: X FOUND\x00PATH: Can't allocate memory ERROR\x00", ""},
		{"", ""},
		{"PATH: X FOUND\x00" + strings.Repeat("PATH: Y FOUND\x00", maxAll/10), ""},
	} {
		found, err := parseAll([]byte(tt.reply), content{path: path, first: "X"})
		var names []string
		if found != nil {
			for _, f := range found.all {
				names = append(names, f.detail)
			}
		}
		if got := strings.Join(names, " "); got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%.60q: got %q, %v, want %q", tt.reply, got, err, tt.want)
		}
	}
	f := serve(t, "unix", answering("stream: X FOUND\x00"))
	s := newScanner(t, Config{Addresses: []string{f.addr}, AllMatchDir: t.TempDir(), Timeout: time.Second})
	findings, err := s.Scan(t.Context(), file(t, "content"))
	if got := scannertest.Outcome(findings, nil); got != "clamd/malware" || scannertest.Outcome(nil, err) != "temporary" {
		t.Errorf("got %v, %v, want the finding and an error", findings, err)
	}
}

func TestRemovesWhatWasLeftBehind(t *testing.T) {
	dir := t.TempDir()
	s := newScanner(t, Config{AllMatchDir: dir})
	old, err := s.put(content{size: 1, reader: partContent(file(t, "x")).reader})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(old, time.Time{}, time.Now().Add(-2*leftTime)); err != nil {
		t.Fatal(err)
	}
	used, err := s.put(content{size: 1, reader: partContent(file(t, "x")).reader})
	if err != nil {
		t.Fatal(err)
	}
	s.tidy()
	if _, err := os.Stat(old); !os.IsNotExist(err) {
		t.Errorf("an old file is still there: %v", err)
	}
	if _, err := os.Stat(used); err != nil {
		t.Error(err)
	}
}
