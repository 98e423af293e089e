package office

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// Limits of what is kept of the source of a macro.
const (
	maxLine  = 8 << 10 // bytes of a line, with those that continue it; the rest is a line of its own
	maxTold  = 8       // words, or procedures, that a detail tells
	maxWords = 64      // bytes of a name that is told
)

// A Basic looks for what macros in Basic do: Visual Basic for Applications, and that of OpenOffice.
// Source is written to it, in any encoding of bytes. It never fails.
type Basic struct {
	line    []byte // that is not ended
	pending []byte // lines that are continued
	seen    int64  // bytes that are no blanks
	code    bool   // there is something else than attributes and options
	module  string // the present one
	names   []string
	autorun []string
	words   map[string]bool
	hiding  map[string]bool // ways to hide text
}

// Module begins a module of that name.
func (b *Basic) Module(name string) {
	b.End()
	b.module, b.seen = name, 0
	if len(b.names) < maxTold+1 && !slices.Contains(b.names, name) {
		b.names = append(b.names, name)
	}
}

// End ends a module.
func (b *Basic) End() {
	if len(b.line) > 0 {
		b.endLine()
	}
	if len(b.pending) > 0 {
		b.statement(b.pending)
		b.pending = b.pending[:0]
	}
}

// Write takes source.
func (b *Basic) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		end := i
		if end < 0 {
			end = len(p)
		}
		end = min(end, maxLine-len(b.line))
		b.line = append(b.line, p[:end]...)
		if end == i {
			end++
		}
		p = p[end:]
		if i >= 0 || len(b.line) >= maxLine {
			b.endLine()
		}
	}
	return n, nil
}

// Source reports whether the present module has any source.
func (b *Basic) Source() bool { return b.seen > 0 || len(b.line) > 0 }

// endLine takes a line, or keeps it until what continues it is there.
func (b *Basic) endLine() {
	line := trimBlanks(b.line)
	b.seen += int64(len(line))
	if k := len(line); k >= 2 && line[k-1] == '_' && (line[k-2] == ' ' || line[k-2] == '\t') && len(b.pending)+k < maxLine {
		b.pending = append(append(b.pending, line[:k-1]...), ' ')
	} else {
		b.pending = append(b.pending, line...)
		b.statement(b.pending)
		b.pending = b.pending[:0]
	}
	b.line = b.line[:0]
}

func trimBlanks(b []byte) []byte {
	for len(b) > 0 && b[len(b)-1] <= ' ' {
		b = b[:len(b)-1]
	}
	for len(b) > 0 && b[0] <= ' ' {
		b = b[1:]
	}
	return b
}

// statement looks at one line with all that continues it.
func (b *Basic) statement(line []byte) {
	s := strings.ToLower(withoutComment(string(line)))
	if s = strings.TrimSpace(s); s == "" || strings.HasPrefix(s, "attribute vb_") || strings.HasPrefix(s, "option ") {
		return
	}
	b.code = true
	words := identifiers(s)
	b.procedure(words)
	b.look(s, words)
}

// withoutComment cuts off what is behind a ' that is in no text.
func withoutComment(s string) string {
	quoted := false
	for i := range len(s) {
		switch s[i] {
		case '"':
			quoted = !quoted
		case '\'':
			if !quoted {
				return s[:i]
			}
		}
	}
	return s
}

// identifiers are the words of a line, in its texts too.
func identifiers(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool {
		return r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && r < 0x80
	})
}

// procedure notes a procedure that runs by itself.
func (b *Basic) procedure(words []string) {
	for i, w := range words {
		switch w {
		case "public", "private", "static", "friend":
			continue
		case "sub", "function":
			if i+1 < len(words) && (runsByItself(words[i+1]) || words[i+1] == "main" && autoNames[strings.ToLower(b.module)]) {
				b.tell(&b.autorun, b.in(words[i+1]))
			}
		}
		return
	}
}

func (b *Basic) in(name string) string {
	if b.module == "" {
		return clip(name)
	}
	return clip(b.module) + "." + clip(name)
}

func clip(s string) string { return strings.ToValidUTF8(s[:min(len(s), maxWords)], "_") }

func (b *Basic) tell(list *[]string, s string) {
	if len(*list) <= maxTold && !slices.Contains(*list, s) {
		*list = append(*list, s)
	}
}

// autoNames are procedures, and modules with a procedure Main, that Word and Excel run by their names.
var autoNames = set("autoexec autoopen autonew autoclose autoexit auto_open auto_close auto_activate auto_deactivate")

// autoEvents are procedures that run when a document or program has that event, which nobody has to
// cause: opening, closing, printing, saving.
var autoEvents = set(`document_open document_new document_close document_beforeclose document_beforesave document_beforeprint
	document_documentopened document_documentsaved document_contentcontrolonenter documentopen documentchange
	workbook_open workbook_activate workbook_deactivate workbook_beforeclose workbook_close workbook_beforesave workbook_windowactivate workbook_addininstall
	presentation_open presentation_close slideshowbegin onslideshowpagechange onslideshowterminate app_presentationopen project_open project_beforeclose
	app_workbookopen app_documentopen application_startup application_newmail application_newmailex application_itemsend
	visio_documentopened onload onopen onnew onclose`)

// autoSuffixes are events of controls that come without anybody touching them.
var autoSuffixes = []string{"_painted", "_painting", "_onconnecting", "_onconnected", "_documentcomplete", "_navigatecomplete2",
	"_statustextchange", "_titlechange", "_progresschange", "_beforenavigate2", "_beforescriptexecute", "_downloadbegin"}

func set(s string) map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(s) {
		m[w] = true
	}
	return m
}

func runsByItself(name string) bool {
	return autoNames[name] || autoEvents[name] || slices.ContainsFunc(autoSuffixes, func(s string) bool { return strings.HasSuffix(name, s) })
}

// strong are words that macros of honest documents have no use for, with what they mean.
var strong = map[string]string{
	"shell": "starts programs", "shellexecute": "starts programs", "shellexecutea": "starts programs", "shellexecutew": "starts programs",
	"winexec": "starts programs", "createprocess": "starts programs", "createprocessa": "starts programs", "createprocessw": "starts programs",
	"powershell": "starts programs", "mshta": "starts programs", "rundll32": "starts programs",
	"regsvr32": "starts programs", "wmic": "starts programs", "certutil": "starts programs", "bitsadmin": "starts programs", "cscript": "starts programs",
	"win32_process": "starts programs", "win32_processstartup": "starts programs", "winmgmts": "starts programs", "macscript": "starts programs", "applescripttask": "starts programs",
	"urldownloadtofile": "loads from the network", "urldownloadtofilea": "loads from the network", "urldownloadtofilew": "loads from the network",
	"xmlhttp": "loads from the network", "serverxmlhttp": "loads from the network", "winhttprequest": "loads from the network", "winhttp": "loads from the network",
	"internetopenurl": "loads from the network", "internetopenurla": "loads from the network", "internetreadfile": "loads from the network",
	"virtualalloc": "writes into memory", "virtualallocex": "writes into memory", "virtualprotect": "writes into memory", "writeprocessmemory": "writes into memory",
	"createthread": "writes into memory", "createremotethread": "writes into memory", "ntallocatevirtualmemory": "writes into memory", "heapcreate": "writes into memory",
	"enumsystemlanguagegroupsw": "writes into memory", "queueuserapc": "writes into memory",
	"vbcomponents": "changes macros", "accessvbom": "changes macros", "vbawarnings": "changes macros",
	"executeexcel4macro": "runs what is no Visual Basic", "macroscript": "runs what is no Visual Basic", "scriptcontrol": "runs what is no Visual Basic",
}

// weak are words that honest macros have too. They are told of beside a strong one.
var weak = set("createobject getobject callbyname environ adodb savetofile regwrite regread kill filecopy schtasks appdata declare")

// look looks for words in a statement, and for ways to hide text.
func (b *Basic) look(s string, words []string) {
	if b.words == nil {
		b.words, b.hiding = map[string]bool{}, map[string]bool{}
	}
	chars := 0
	for _, w := range words {
		switch w {
		case "chr", "chrw", "chrb":
			chars++
		case "strreverse":
			b.hiding["StrReverse"] = true
		}
		if strong[w] != "" || weak[w] {
			b.words[w] = true
		}
	}
	if chars >= 5 {
		b.hiding["chains of Chr"] = true
	}
	if strings.Count(s, `" & "`)+strings.Count(s, `"&"`)+strings.Count(s, `" + "`) >= 12 {
		b.hiding["texts in small pieces"] = true
	}
	if i := strings.Index(s, "createobject("); i >= 0 && !strings.HasPrefix(strings.TrimLeft(s[i+len("createobject("):], " "), `"`) {
		b.hiding["an object by a computed name"] = true
	}
	if longDigits(s) {
		b.hiding["a text of digits"] = true
	}
	if strings.Contains(s, "wscript.shell") || strings.Contains(s, "shell.application") || strings.Contains(s, "new:72c24dd5") || strings.Contains(s, "new:{72c24dd5") {
		b.words["shell"] = true
	}
}

// longDigits reports whether there is a text of hexadecimal or base64 digits that is no word.
func longDigits(s string) bool {
	run := 0
	for i := range len(s) {
		c := s[i]
		if c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c == '+' || c == '/' || c == '=' {
			if run++; run >= 200 {
				return true
			}
			continue
		}
		run = 0
	}
	return false
}

// Autorun are the procedures that run by themselves, for people; empty if there are none.
func (b *Basic) Autorun() string {
	b.End()
	return list(b.autorun)
}

// Suspicious says what is suspicious, for people; empty if nothing is.
func (b *Basic) Suspicious() string {
	b.End()
	kinds := map[string][]string{}
	for w := range b.words {
		if kind := strong[w]; kind != "" {
			kinds[kind] = append(kinds[kind], w)
		}
	}
	for h := range b.hiding {
		kinds["hides what it does"] = append(kinds["hides what it does"], h)
	}
	if len(kinds) == 0 {
		return ""
	}
	for w := range b.words {
		if strong[w] == "" {
			kinds["uses"] = append(kinds["uses"], w)
		}
	}
	var out []string
	for kind, words := range kinds {
		slices.Sort(words)
		out = append(out, kind+" ("+list(words)+")")
	}
	slices.Sort(out)
	return strings.Join(out, "; ")
}

// Code reports whether there is more than attributes.
func (b *Basic) Code() bool {
	b.End()
	return b.code
}

// Modules names the modules, for people.
func (b *Basic) Modules() string { return list(b.names) }

// list is a list for people, of not too many.
func list(s []string) string {
	if len(s) > maxTold {
		return strings.Join(s[:maxTold], ", ") + fmt.Sprintf(" and %d more", len(s)-maxTold)
	}
	return strings.Join(s, ", ")
}

// Report tells all that is known, if there are macros at all: a project without modules is none.
func (b *Basic) Report(report func(check, detail string)) {
	b.End()
	detail := "macros in " + b.Modules()
	if !b.code {
		detail += ", without any code"
	}
	report(Macro, detail)
	if s := b.Autorun(); s != "" {
		report(MacroAutorun, "runs by itself: "+s)
	}
	if s := b.Suspicious(); s != "" {
		report(MacroSuspicious, s)
	}
}
