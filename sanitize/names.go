package sanitize

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"rastel/sanitize/eml"
)

// Names judges attachments by every name that some mail client would show for them. The fix of
// its findings is another name; members of containers have none, for nobody can rename them.
type Names struct{ Config Config }

var nameChecks = []eml.Check{
	{ID: "name/executable", Doc: "The name has an extension that a desktop runs at a double click."},
	{ID: "name/double-extension", Doc: "The name of a program looks like that of a document."},
	{ID: "name/hidden", Doc: "The name hides its extension behind blanks, invisible characters or a change of direction."},
	{ID: "name/clsid", Doc: "The name ends in a class identifier, which Windows obeys and does not show."},
	{ID: "name/path", Doc: "The name is a path that leads out of the directory in which a file is saved."},
	{ID: "name/control", Doc: "The name holds control characters."},
	{ID: "name/long", Doc: "The name is longer than clients show, or file systems allow."},
	{ID: "name/reserved", Doc: "The name is that of a device in Windows."},
	{ID: "name/shell", Doc: "The name holds what a shell would run."},
}

// Checks are those that Scan may report.
func (Names) Checks() []eml.Check { return nameChecks }

// Scan looks at the names of a part; its content does not matter.
func (s Names) Scan(_ context.Context, p *eml.Part) ([]eml.Finding, error) {
	var out []eml.Finding
	for _, n := range p.Names {
		name := readName{n, forms(n)}
		for _, t := range nameTests {
			if detail := t.test(s.Config, name); detail != "" {
				out = addOnce(out, eml.Finding{Check: t.check, Part: p, Detail: fmt.Sprintf("%.200q: %s", n, detail)})
			}
		}
	}
	if len(p.Names) == 0 && programTypes[p.MediaType] != "" {
		out = append(out, eml.Finding{Check: "name/executable", Part: p, Detail: fmt.Sprintf("without a name, so that clients make one of the type %s", p.MediaType)})
	}
	if len(out) > 0 && !p.Member() {
		fix := Rename(p, SafeName(p.Names))
		for i := range out {
			out[i].Fix = fix
		}
	}
	return out, nil
}

// ScanMessage looks at the names of what has parts instead of content: a client saves an attached
// message under its name too.
func (s Names) ScanMessage(ctx context.Context, m *eml.Message) (out []eml.Finding, err error) {
	m.Root.Walk(func(p *eml.Part) bool {
		if !p.Leaf() && len(p.Names) > 0 && err == nil {
			var found []eml.Finding
			found, err = s.Scan(ctx, p)
			out = append(out, found...)
		}
		return err == nil
	})
	return out, err
}

// addOnce adds a finding unless there is one of that check already: ten names of one part tell
// no more than the first.
func addOnce(list []eml.Finding, f eml.Finding) []eml.Finding {
	for i := range list {
		if list[i].Check == f.Check {
			return list
		}
	}
	return append(list, f)
}

// A readName is a name and its forms, which cost more than most tests of them.
type readName struct {
	text  string
	forms []string
}

// nameTests say, for people, what is wrong with a name; nothing if nothing is.
var nameTests = []struct {
	check string
	test  func(Config, readName) string
}{
	{"name/executable", testExecutable},
	{"name/double-extension", testDouble},
	{"name/hidden", testHidden},
	{"name/clsid", testCLSID},
	{"name/path", testPath},
	{"name/control", testControl},
	{"name/long", testLong},
	{"name/reserved", testReserved},
	{"name/shell", testShell},
}

func testExecutable(c Config, name readName) string {
	for _, f := range name.forms {
		if why := c.executable(extension(f)); why != "" {
			return fmt.Sprintf("%s (%s)", why, extension(f))
		}
	}
	return ""
}

func testDouble(c Config, name readName) string {
	for _, f := range name.forms {
		last := extension(f)
		if c.executable(last) == "" {
			continue
		}
		stem := trimName(strings.TrimSuffix(f[:strings.LastIndexByte(f, '.')], "."))
		if first := extension(stem); documents[first] {
			return fmt.Sprintf("shown as %s, opened as %s", first, last)
		}
	}
	return ""
}

// maxBlanks is how many blanks in a row a name may have; more push its end out of sight.
const maxBlanks = 7

func testHidden(c Config, name readName) string {
	blanks, stop := 0, strings.LastIndexByte(name.text, '.')
	for i, r := range name.text {
		switch {
		case isBidi(r):
			return fmt.Sprintf("changes direction (U+%04X)", r)
		case isInvisible(r) && stop >= 0 && i > stop: // elsewhere joiners are part of how some scripts, and emoji, are written
			return fmt.Sprintf("an invisible character (U+%04X)", r)
		case unicode.IsSpace(r):
			if blanks++; blanks > maxBlanks {
				return "many blanks in a row"
			}
			continue
		}
		blanks = 0
	}
	for _, f := range name.forms {
		ext := extension(f)
		if look := lookAlikes.Replace(ext); look != ext && c.executable(look) != "" {
			return "letters that look like " + look
		}
		if ext = extension(stops.Replace(f)); c.executable(ext) != "" && c.executable(extension(f)) == "" {
			return "a character that looks like the stop before " + ext
		}
	}
	return ""
}

// lookAlikes are Cyrillic and Greek letters, in lower case, that look like Latin ones (Unicode
// Technical Standard #39): systems do not run "setup.ехе", but people and some tools take it for
// what it looks like.
var lookAlikes = strings.NewReplacer(
	"а", "a", "в", "b", "с", "c", "ԁ", "d", "е", "e", "һ", "h", "і", "i", "ј", "j", "к", "k", "ӏ", "l", "м", "m", "о", "o",
	"р", "p", "ԛ", "q", "ѕ", "s", "т", "t", "у", "y", "х", "x", "ѵ", "v", "ԝ", "w",
	"α", "a", "ε", "e", "ι", "i", "ο", "o", "ρ", "p", "χ", "x", "ν", "v", "κ", "k", "τ", "t", "υ", "u",
)

// stops are characters that look like a full stop and are none in NFKC. Systems do not run
// "setup。exe", but people, and what makes a domain or a name of it, take it for what it looks like.
var stops = strings.NewReplacer("。", ".", "۔", ".", "܁", ".", "܂", ".", "ꓸ", ".", "\U00010a50", ".")

// clsid is a class identifier as an extension; Windows opens the file with that class.
var clsid = regexp.MustCompile(`\.\{[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\}`)

func testCLSID(_ Config, name readName) string {
	for _, f := range name.forms {
		if m := clsid.FindString(f); m != "" {
			return "opened by the class " + m[1:]
		}
	}
	return ""
}

// testPath does not mind directories as such: members of archives have them, and some clients
// write a date with slashes.
func testPath(_ Config, name readName) string {
	s := strings.ReplaceAll(fold(percentDecode(clip(name.text))), `\`, "/")
	switch {
	case strings.HasPrefix(s, "/"):
		return "an absolute path"
	case len(s) > 2 && s[1] == ':' && s[2] == '/' && s[0] >= 'a' && s[0] <= 'z':
		return "a path on a drive"
	}
	for dir := range strings.SplitSeq(s, "/") {
		if strings.TrimRight(dir, " ") == ".." {
			return "a path to a parent directory"
		}
	}
	return ""
}

// testControl lets a tab pass, for a fold in a header field leaves one, and C1 controls, for a
// wrongly declared charset makes those of dashes and quotes.
func testControl(_ Config, name readName) string {
	for _, r := range name.text {
		if r != '\t' && r < ' ' || r == 0x7f {
			return fmt.Sprintf("a control character (U+%04X)", r)
		}
	}
	return ""
}

// maxNameBytes is how long a name may be in file systems.
const maxNameBytes = 255

func testLong(c Config, name readName) string {
	base := name.text[strings.LastIndexAny(name.text, `/\`)+1:]
	n := utf8.RuneCountInString(base)
	if n <= c.nameLength() && len(base) <= maxNameBytes {
		return ""
	}
	return fmt.Sprintf("%d characters in %d bytes", n, len(base))
}

// devices are the names that Windows takes for devices, whatever extension follows (Naming
// Files, Paths, and Namespaces). COM¹ is COM1 in NFKC.
var devices = set(`con prn aux nul conin$ conout$ com0 com1 com2 com3 com4 com5 com6 com7 com8 com9
	lpt0 lpt1 lpt2 lpt3 lpt4 lpt5 lpt6 lpt7 lpt8 lpt9`)

func testReserved(_ Config, name readName) string {
	for _, f := range name.forms {
		stem, _, _ := strings.Cut(f, ".")
		if devices[strings.TrimRight(stem, " ")] {
			return "a device in Windows"
		}
	}
	return ""
}

// testShell looks for command substitution, and for pipes, which Perl and others open for a name
// (CVE-2023-2868 began with a back-quote in one).
func testShell(_ Config, name readName) string {
	if found := shellCommand(name.text); found != "" {
		return fmt.Sprintf("a command for a shell: %.60q", found)
	}
	if s := strings.TrimSpace(name.text); strings.HasPrefix(s, "|") || strings.HasSuffix(s, "|") {
		return "a pipe"
	}
	return ""
}
