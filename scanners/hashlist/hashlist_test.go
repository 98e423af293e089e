package hashlist

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"rastel/sanitize/eml"
	"rastel/scanners/scannertest"
)

const content = "RASTEL HARMLESS TEST PAYLOAD 5d1f8c72"

var (
	md5Hex    = fmt.Sprintf("%x", md5.Sum([]byte(content)))
	sha1Hex   = fmt.Sprintf("%x", sha1.Sum([]byte(content)))
	sha256Hex = fmt.Sprintf("%x", sha256.Sum256([]byte(content)))
)

func write(t testing.TB, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func newLists(t testing.TB, cfg Config) *Lists {
	t.Helper()
	s, err := New(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// block makes the scanner of one list of malware.
func block(t testing.TB, name, text string) *Lists {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	write(t, file, text)
	return newLists(t, Config{Block: []string{file}})
}

func part(t testing.TB, text string) *eml.Part { return scannertest.Part(t, []byte(text)) }

// seen are the findings about a part, as text.
func seen(t testing.TB, s *Lists, p *eml.Part) string {
	t.Helper()
	findings, err := s.Scan(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range findings {
		if f.Part != p {
			t.Errorf("%+v is about another part", f)
		}
		out = append(out, f.Check+" "+f.Detail)
	}
	return strings.Join(out, ", ")
}

func TestKeepsTheContractOfScanners(t *testing.T) {
	scannertest.Run(t, block(t, "a.hdb", md5Hex+":37:X\n"))
	scannertest.Run(t, newLists(t, Config{}))
}

// lines are lists of one line, and whether the content is on it.
var lines = []struct {
	name, line string
	listed     bool
}{
	{"md5.hdb", md5Hex + ":37:Test.MD5", true},
	{"upper.hdb", strings.ToUpper(md5Hex) + ":37:Test.MD5", true},
	{"sha1.hsb", sha1Hex + ":37:Test.SHA1", true},
	{"sha256.hsb", sha256Hex + ":37:Test.SHA256", true},
	{"any.hsb", sha256Hex + ":*:Test.Any:73", true},
	{"any.hdb", md5Hex + ":*:Test.Any:73", true},
	{"size.hdb", md5Hex + ":38:Test.Size", false},
	{"size.hsb", sha256Hex + ":36:Test.Size", false},
	{"old.hsb", sha256Hex + ":37:Test.Old:73:100", false},
	{"now.hsb", sha256Hex + ":37:Test.Now:73:255", true},
	{"next.hsb", sha256Hex + ":37:Test.Next:250", false},
	{"other.hsb", strings.Repeat("0", 64) + ":37:Test.Other", false},
}

func TestReadsSignaturesOfClamAV(t *testing.T) {
	for _, c := range lines {
		t.Run(c.name, func(t *testing.T) {
			name := strings.Split(c.line, ":")[2]
			for _, text := range []string{c.line, c.line + "\r\n", "# comment\n\n" + c.line + "\n" + c.line + "\n", "\ufeff" + c.line + "\n"} {
				want := ""
				if c.listed {
					want = checkMalware + " " + name + " in " + c.name
				}
				if got := seen(t, block(t, c.name, text), part(t, content)); got != want {
					t.Errorf("%q: got %q, want %q", text, got, want)
				}
			}
			if got := seen(t, block(t, c.name, c.line), part(t, content+" ")); got != "" {
				t.Errorf("other content: %q", got)
			}
		})
	}
}

// TestAgreesWithClamAV has clamscan examine the content by the same lists.
func TestAgreesWithClamAV(t *testing.T) {
	if os.Getenv("RASTEL_E2E") == "" {
		t.Skip("needs clamscan: run contrib/test, or set RASTEL_E2E=1")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "content")
	write(t, file, content)
	for _, c := range lines {
		list := filepath.Join(dir, c.name)
		write(t, list, c.line+"\n"+strings.Repeat("1", len(strings.Split(c.line, ":")[0]))+":9:Test.Filler\n")
		out, err := exec.Command("clamscan", "--no-summary", "-d", list, file).CombinedOutput()
		var exit *exec.ExitError
		if found := errors.As(err, &exit) && exit.ExitCode() == 1; found != c.listed || (err != nil && exit == nil) {
			t.Errorf("%s: clamscan says %s", c.line, out)
		}
	}
}

func TestReadsPlainLists(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{sha256Hex, "in list.txt"}, {strings.ToUpper(sha256Hex), "in list.txt"}, {sha256Hex + "  *evil.exe", "evil.exe in list.txt"},
		{sha256Hex + ",Emotet", "Emotet in list.txt"}, {"\t" + sha256Hex + " # seen on Monday ", "seen on Monday in list.txt"},
		{sha256Hex + " " + strings.Repeat("x", 500), strings.Repeat("x", maxName) + " in list.txt"},
	} {
		if got := seen(t, block(t, "list.txt", "# list\n"+c.line+"\n\n"), part(t, content)); got != checkMalware+" "+c.want {
			t.Errorf("%s: got %q", c.line, got)
		}
	}
}

func TestRefusesWhatItDoesNotUnderstand(t *testing.T) {
	for _, c := range []struct{ name, line string }{
		{"a.txt", md5Hex}, {"a.txt", sha256Hex[:63]}, {"a.txt", sha256Hex + "0"}, {"a.txt", "hello"}, {"a.txt", strings.Repeat("g", 64)}, {"a.txt", sha256Hex + "\x00x"},
		{"a.txt", sha256Hex + strings.Repeat(" ", maxLine)}, {"a.txt", "<html>"}, {"a.txt", sha256Hex + ":37:X"},
		{"a.hsb", sha256Hex}, {"a.hsb", sha256Hex + ":37"}, {"a.hsb", sha256Hex + ":37:"}, {"a.hsb", sha256Hex + ":-1:X"}, {"a.hsb", sha256Hex + ":x:X"}, {"a.hsb", sha256Hex + ":37:X:y"},
		{"a.hsb", sha256Hex + ":37:X:1:2:3"}, {"a.hsb", sha256Hex[:62] + ":37:X"}, {"a.hsb", sha256Hex + "00:37:X"}, {"a.hdb", ":37:X"}, {"a.hdb", "zz:37:X"}, {"a.hdb", strings.Repeat("x", 100_000)},
	} {
		file := filepath.Join(t.TempDir(), c.name)
		write(t, file, "# a comment\n"+c.line+"\n")
		_, err := New(Config{Block: []string{file}}, nil)
		if err == nil || !strings.Contains(err.Error(), file+":2: ") {
			t.Errorf("%s, %.80q: got %v, want an error about line 2", c.name, c.line, err)
		}
	}
	for _, cfg := range []Config{{Block: []string{"relative"}}, {Interval: time.Millisecond}, {Allow: make([]string, maxFiles+1)}} {
		if cfg.Validate() == nil {
			t.Errorf("%+v is valid", cfg)
		}
	}
	for _, name := range []string{filepath.Join(t.TempDir(), "missing"), t.TempDir()} {
		if _, err := New(Config{Block: []string{name}}, nil); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func TestSeveralLists(t *testing.T) {
	dir := t.TempDir()
	a, b, c := filepath.Join(dir, "a.hdb"), filepath.Join(dir, "b.txt"), filepath.Join(dir, "c.sfp")
	write(t, a, md5Hex+":37:One\n"+sha1Hex+":37:Two\n")
	write(t, b, sha256Hex+" Three\n")
	write(t, c, sha256Hex+":37:Known\n")
	s := newLists(t, Config{Block: []string{a, b}, Allow: []string{c}})
	if got, want := seen(t, s, part(t, content)), "hash/malware One in a.hdb, hash/malware Three in b.txt, hash/allowed Known in c.sfp"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if s.Entries() != 4 {
		t.Errorf("%d entries", s.Entries())
	}
}

func TestLargeListsFindAllTheyHold(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for name, first := range map[string]func(i int) uint32{
		"even":             func(int) uint32 { return rnd.Uint32() },
		"all in one":       func(int) uint32 { return 42 }, // made so that the index is of no use
		"the two extremes": func(i int) uint32 { return uint32(i&1) * 0xffffffff },
	} {
		for _, n := range []int{0, 1, 2, 3, 100, 5000} {
			tab := table{hash: 32}
			var hashes [][]byte
			for i := range n {
				h := binary.BigEndian.AppendUint32(nil, first(i))
				h = binary.BigEndian.AppendUint64(h, uint64(i)<<32)
				h = append(h, make([]byte, 20)...)
				hashes = append(hashes, h)
				tab.add(h, uint32(i%3)+1, uint32(i))
			}
			tab.build()
			for i, h := range hashes {
				if at, ok := tab.find(h, uint32(i%3)+1); !ok || at != uint32(i) {
					t.Fatalf("%s, %d: entry %d: %d, %v", name, n, i, at, ok)
				}
				if _, ok := tab.find(h, 9); ok {
					t.Fatalf("%s, %d: entry %d has any size", name, n, i)
				}
				h[31]++
				if _, ok := tab.find(h, uint32(i%3)+1); ok {
					t.Fatalf("%s, %d: entry %d + 1 is there", name, n, i)
				}
			}
		}
	}
}

func TestOneHashWithSeveralSizes(t *testing.T) {
	s := block(t, "a.hsb", sha256Hex+":36:A\n"+sha256Hex+":37:B\n"+sha256Hex+":38:C\n")
	if got := seen(t, s, part(t, content)); got != "hash/malware B in a.hsb" {
		t.Errorf("got %q", got)
	}
}

func TestAChangedFileIsReadAnew(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.txt")
	write(t, file, strings.Repeat("0", 64)+"\n")
	var log bytes.Buffer
	s, err := New(Config{Block: []string{file}}, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	p, version := part(t, content), s.Version()
	is := func(step string, listed, trouble bool, looks int) {
		t.Helper()
		for i := range looks {
			if (seen(t, s, p) != "") == listed && looks > 1 && i > 0 {
				t.Errorf("%s: in force after %d of %d looks", step, i, looks)
			}
			s.look(false)
		}
		if got := seen(t, s, p); (got != "") != listed || (s.Trouble() != nil) != trouble {
			t.Errorf("%s: listed %q, trouble %v", step, got, s.Trouble())
		}
	}
	is("nothing new", false, false, 1)
	write(t, file, sha256Hex+" One\n")
	is("changed", true, false, 2) // not before it has settled
	if s.Version() == version {
		t.Error("other lists, same version")
	}
	log.Reset()
	write(t, file, sha256Hex+" One\n"+sha256Hex[:20])
	for range 5 {
		s.look(false)
	}
	is("broken", true, true, 1)
	if n := strings.Count(log.String(), "stays in force"); n != 1 {
		t.Errorf("told %d times: %s", n, &log)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	s.look(false)
	is("gone", true, true, 1)
	write(t, file+".new", sha256Hex+" Two\n")
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
	if err := s.Reload(); err != nil {
		t.Error(err)
	}
	if got := seen(t, s, p); got != "hash/malware Two in a.txt" {
		t.Errorf("back again: %q", got)
	}
	write(t, file, "")
	if err := s.Reload(); err != nil || seen(t, s, p) != "" {
		t.Errorf("empty: %v", err)
	}
}

func TestScanEndsWithItsContext(t *testing.T) {
	s := block(t, "a.hdb", md5Hex+":37:X\n")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Scan(ctx, part(t, content)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// million is a list of that many entries, as a .hsb.
func million(tb testing.TB) string {
	const n = 1_000_000
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, "%x:%d:Win.Trojan.Agent-%07d-0\n", sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(i))), 1000+i, i)
	}
	file := filepath.Join(tb.TempDir(), "million.hsb")
	write(tb, file, b.String())
	return file
}

// BenchmarkMillion looks up what is not there and what is, in a list of a million, and tells what the list
// takes.
func BenchmarkMillion(b *testing.B) {
	file := million(b)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	start := time.Now()
	l, err := readList(file)
	if err != nil {
		b.Fatal(err)
	}
	took := time.Since(start)
	runtime.GC()
	runtime.ReadMemStats(&after)
	bytesEach := float64(after.HeapAlloc-before.HeapAlloc) / float64(l.entries)
	sums := make([][32]byte, 1<<16)
	for _, c := range []struct {
		name  string
		there bool
	}{{"absent", false}, {"present", true}} {
		for i := range sums {
			k := uint64(i * 15)
			if !c.there {
				k += 1 << 40
			}
			sums[i] = sha256.Sum256(binary.BigEndian.AppendUint64(nil, k))
		}
		b.Run(c.name, func(b *testing.B) {
			i, cpu := 0, cpuTime(b)
			for b.Loop() {
				k := i & (len(sums) - 1)
				if _, ok := l.find(sha256Digest, sums[k][:], int64(1000+k*15)); ok != c.there {
					b.Fatal(ok)
				}
				i += 7919
			}
			b.ReportMetric(float64(cpuTime(b)-cpu)/float64(b.N), "cpu-ns/op") // without what others use meanwhile
			b.ReportMetric(bytesEach, "bytes/entry")
			b.ReportMetric(took.Seconds(), "s/load")
		})
	}
}

// cpuTime is what this process has computed so far.
func cpuTime(tb testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func FuzzRead(f *testing.F) {
	for _, c := range lines {
		f.Add(c.line, true)
	}
	f.Add(sha256Hex+" x\n", false)
	f.Fuzz(func(t *testing.T, text string, clam bool) {
		l := &list{names: []byte{0}}
		parse := (*list).plainLine
		if clam {
			parse = (*list).clamLine
		}
		for d := range digests {
			l.tables[d].hash = d.size()
		}
		if l.read(strings.NewReader(text), parse) != nil {
			return
		}
		n := 0
		for d := range digests {
			tab := &l.tables[d]
			tab.build()
			n += tab.len()
			for i := range tab.len() { // whatever is in it is found, under a name
				r := tab.records[i*tab.width():]
				if _, ok := l.find(d, r[:tab.hash], int64(binary.LittleEndian.Uint32(r[tab.hash:]))-1); !ok && binary.LittleEndian.Uint32(r[tab.hash:]) == anySize {
					t.Fatalf("%q: entry %d is not found", text, i)
				}
			}
		}
		if n != l.entries {
			t.Fatalf("%q: %d entries, %d counted", text, n, l.entries)
		}
	})
}
