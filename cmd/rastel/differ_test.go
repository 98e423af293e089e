package main

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"rastel/policy"
	"rastel/policy/engine"
	"rastel/sanitize/eml"
	"rastel/scanners"
)

// To hunt for what nobody has seen yet: other messages, and more of them.
var (
	differSeed  = flag.Uint64("differ-seed", 2026, "make other messages to compare parsers by")
	differCount = flag.Int("differ-count", 0, "how many `messages` to make")
)

var (
	//go:embed testdata/differ/reader.py
	readerPy string
	//go:embed testdata/differ/reader.pl
	readerPl string
)

// A shownLeaf is what another parser shows of a message.
type shownLeaf struct {
	Type    string
	Names   []string
	Content []byte
}

// otherReaders are the other parsers. Those of Debian are asked for first: a Python that someone
// has put before it need not have the same version.
var otherReaders = []struct{ name, pkg, program, flag, check, script string }{
	{"Python email", "python3", "/usr/bin/python3", "-c", "import email, json", readerPy},
	{"MIME-tools", "libmime-tools-perl", "/usr/bin/perl", "-e", "use MIME::Parser; use JSON::PP", readerPl},
}

// askReader has another parser read all messages, in one process.
func askReader(ctx context.Context, program, script string, messages [][]byte) (answers [][]shownLeaf, err error) {
	file, err := os.CreateTemp("", "differ-")
	if err != nil {
		return nil, err
	}
	defer os.Remove(file.Name())
	if _, err := file.WriteString(script); err != nil {
		return nil, err
	}
	if err := file.Close(); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, program, file.Name())
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	defer func() {
		in.Close()
		if e := cmd.Wait(); err == nil && e != nil {
			err = e
		}
		if err != nil {
			err = fmt.Errorf("message %d: %w\n%.2000s", len(answers), err, stderr.String())
		}
	}()
	r := bufio.NewReader(out)
	for _, m := range messages {
		if _, err := in.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(m))), m...)); err != nil {
			return answers, err
		}
		line, err := r.ReadBytes('\n')
		if err != nil {
			return answers, err
		}
		var leaves []shownLeaf
		if err := json.Unmarshal(line, &leaves); err != nil {
			return answers, err
		}
		answers = append(answers, leaves)
	}
	return answers, nil
}

// A recorder is a scanner that remembers what it was given.
type recorder struct {
	mu    sync.Mutex
	parts [][]byte
}

func (*recorder) Checks() []eml.Check { return nil }

func (r *recorder) Scan(_ context.Context, p *eml.Part) ([]eml.Finding, error) {
	b, err := io.ReadAll(p.Content())
	r.mu.Lock()
	defer r.mu.Unlock()
	r.parts = append(r.parts, b)
	return nil, err
}

// A differMessage is a message that the parsers are compared by.
type differMessage struct {
	name string
	raw  []byte // as it is delivered, if it is
	odd  []string

	accepted bool
	seen     []byte   // all that scanners were given, without blanks; what is between parts only clamd sees
	names    []string // all names that were judged
	outline  string
}

// examineAll examines messages as they come in. Of those that are delivered changed, what is delivered
// is what counts.
func examineAll(t *testing.T, e *engine.Engine, rec *recorder, list []*differMessage) {
	for _, m := range list {
		rec.parts = nil
		x, out := deliver(t, e, m.raw)
		m.accepted = x.Verdict.Action == policy.Accept
		if m.accepted && !x.Verdict.Patch.Empty() {
			rec.parts, m.raw = nil, out
			x, _ = deliver(t, e, out)
		}
		for _, b := range rec.parts {
			m.seen = append(append(m.seen, squeezed(b)...), 0)
		}
		var skeleton bytes.Buffer
		if err := x.Message.Skeleton(&skeleton); err != nil {
			t.Fatal(err)
		}
		m.seen = append(m.seen, squeezed(skeleton.Bytes())...)
		x.Message.Root.Walk(func(p *eml.Part) bool {
			m.names = append(m.names, p.Names...)
			m.outline += fmt.Sprintf("%s %s %q %.40q\n", p.ID, p.MediaType, p.Names, p.Reading)
			return true
		})
		for _, f := range x.Report.Findings {
			m.outline += fmt.Sprintf("found %s %s %.80q\n", f.Check, f.Part.ID, f.Detail)
		}
	}
}

// squeezed is content without blanks and NUL: parsers differ about the ends of lines and parts.
func squeezed(b []byte) []byte {
	return bytes.Map(func(r rune) rune {
		if r <= ' ' {
			return -1
		}
		return r
	}, bytes.ToValidUTF8(b, []byte("?")))
}

// tokens are in each leaf of a generated message, and nowhere else; the payload is in cases.
var tokens = regexp.MustCompile(`tok\d{6}x\d\dq|` + strings.ReplaceAll(payloadText, " ", ""))

// missed tells, for people, what of a leaf that another parser shows was neither examined nor
// judged; nothing if all was.
func (m *differMessage) missed(l *shownLeaf) string {
	content := squeezed(l.Content)
	for _, token := range tokens.FindAll(content, -1) {
		if !bytes.Contains(m.seen, token) {
			return "shows " + string(token)
		}
	}
	if m.odd == nil && len(content) > 0 && !bytes.Contains(m.seen, content) && !m.isSource(content) {
		return fmt.Sprintf("shows %.300q", content)
	}
	if m.accepted && l.Type == "text/html" && bytes.Contains(bytes.ToLower(content), []byte("<script")) {
		return "shows a page with a script"
	}
	for _, n := range l.Names {
		if ext := lastExtension(n); ext != "" && !slices.ContainsFunc(m.names, func(own string) bool { return lastExtension(own) == ext }) {
			return fmt.Sprintf("shows the name %q", n)
		}
	}
	return ""
}

// isSource reports whether content is a piece of the message as it stands: that of a multipart entity
// in which the other parser finds no parts, or base64 that it does not decode. Nobody can open that.
func (m *differMessage) isSource(content []byte) bool {
	return bytes.Contains(squeezed(m.raw), content) && (bytes.Contains(content, []byte("Content-")) || base64Only.Match(content))
}

var base64Only = regexp.MustCompile(`^[A-Za-z0-9+/]{24,}=*$`)

// lastExtension is the extension that decides how a file is opened; empty for what is none.
func lastExtension(name string) string {
	ext := strings.ToLower(filepath.Ext(strings.TrimRight(eml.DecodeWords(name), " .\"'\t\r\n")))
	if len(ext) < 2 || len(ext) > 5 || strings.Trim(ext[1:], "abcdefghijklmnopqrstuvwxyz0123456789") != "" {
		return ""
	}
	return ext
}

// TestOtherParsersSeeNothingElse compares with two parsers that read mail otherwise: whatever
// they show of a message was given to the scanners too, or the message is not delivered.
func TestOtherParsersSeeNothingElse(t *testing.T) {
	for _, r := range otherReaders {
		if err := exec.Command(r.program, r.flag, r.check).Run(); err != nil {
			t.Skipf("needs %s as %s: Debian package %s: %v", r.name, r.program, r.pkg, err)
		}
	}
	count := *differCount
	if count == 0 && os.Getenv("RASTEL_E2E") == "1" {
		count = 4000
	} else if count == 0 {
		count = 300
	}
	list := append(generated(count), stored(t)...)
	rec := &recorder{}
	examineAll(t, defaultEngine(t, scanners.Named{Name: "recorder", Scanner: rec}), rec, list)
	raws := make([][]byte, len(list))
	for i, m := range list {
		raws[i] = m.raw
	}
	answers := make([][][]shownLeaf, len(otherReaders))
	errs := make([]error, len(otherReaders))
	var wg sync.WaitGroup
	for i, r := range otherReaders {
		wg.Go(func() { answers[i], errs[i] = askReader(t.Context(), r.program, r.script, raws) })
	}
	wg.Wait()
	for i, r := range otherReaders {
		if errs[i] != nil {
			t.Fatalf("%s: %v", r.name, errs[i])
		}
		compareWith(t, r.name, list, answers[i])
	}
}

// maxShown is how many of the messages that fail are printed.
const maxShown = 5

func compareWith(t *testing.T, reader string, list []*differMessage, answers [][]shownLeaf) {
	failed, delivered, withheld, leaves := 0, 0, 0, 0
	for i, m := range list {
		if m.accepted {
			delivered++
		}
		for j := range answers[i] {
			leaves++
			why := m.missed(&answers[i][j])
			switch {
			case why == "":
				continue
			case !m.accepted:
				withheld++
				continue
			}
			if failed++; failed <= maxShown {
				t.Errorf("%s %s of %s, which is delivered; odd: %q\n%.3000q\nread as\n%s", reader, why, m.name, m.odd, m.raw, m.outline)
			}
			break
		}
	}
	t.Logf("%s: %d messages, %d of them delivered; %d leaves; %d messages fail; of messages that are not delivered it shows %d leaves that were not examined", reader, len(list), delivered, leaves, failed, withheld)
	if leaves < len(list) || delivered < len(list)/20 {
		t.Errorf("%s: too little to compare", reader)
	}
}

func generated(n int) []*differMessage {
	g := &generator{r: rand.New(rand.NewPCG(36, *differSeed))} //nolint:gosec // they need not surprise anyone
	var list []*differMessage
	for range n {
		raw, odd := g.message()
		list = append(list, &differMessage{name: fmt.Sprintf("generated message %d", g.n), raw: raw, odd: append([]string{}, odd...)})
	}
	return list
}

// stored are the cases, and the third-party messages beside the project if they are there.
func stored(t *testing.T) (list []*differMessage) {
	t.Helper()
	files, err := filepath.Glob("../../testdata/cases/*.case")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		c, err := readCase(f)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, &differMessage{name: caseName(c), raw: c.Raw})
	}
	err = filepath.WalkDir("../../../shared/corpus/mime", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, ".jsonl") {
			return nil //nolint:nilerr // it need not be there
		}
		raw, err := os.ReadFile(path)
		list = append(list, &differMessage{name: path, raw: raw})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}
