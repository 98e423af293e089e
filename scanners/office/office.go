package office

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

// Scanner looks at the XML of documents: at members of those that are zip archives (Office 2007 and
// later, OpenDocument), and at documents that are XML throughout. Also at tables as text, which Excel
// opens as well.
type Scanner struct{}

// Checks are all checks that Scan may report.
func (Scanner) Checks() []eml.Check {
	return Checks(Macro, MacroAutorun, MacroSuspicious, XLM, XLMAutorun, DDE, RemoteTemplate, RemoteObject, External, ActiveX)
}

// marks are in all that Scan looks closer at.
var marks = [][]byte{
	[]byte("Relationship"), []byte("instrText"), []byte("fldSimple"), []byte("ddeLink"), []byte("attachedTemplate"), []byte("macrosheet"), []byte("uto_"), []byte("classid"),
	[]byte("event-listener"), []byte(":module"), []byte("dde-"), []byte("UTO_"),
}

// maxFindings is how many findings about one part are kept.
const maxFindings = 20

// Scan reports what a part of a document does.
func (Scanner) Scan(ctx context.Context, p *eml.Part) ([]eml.Finding, error) {
	if !p.Leaf() || !p.Member() && len(p.Names) == 0 && p.Disposition != "attachment" && !p.Is("xml") {
		return nil, nil
	}
	s := &scan{p: p}
	if len(p.Names) > 0 && p.Member() {
		s.name = p.Names[0]
	}
	if isScript(p) {
		s.report(Macro, "a script")
	}
	var err error
	switch {
	case isTable(p):
		err = s.table(ctx)
	case p.Type == "xml", (p.Is("text") || p.Type == "data") && begins(p):
		err = s.xml(ctx)
	case isBinaryWorkbook(p):
		err = s.workbook(ctx)
	}
	if err != nil {
		return s.findings, fmt.Errorf("read document: %w", err)
	}
	return s.findings, nil
}

// begins reports whether a part begins with a tag.
func begins(p *eml.Part) bool {
	head := bytes.TrimLeft(p.Head(64), "\x00\xef\xbb\xbf\xff\xfe \t\r\n\f")
	return len(head) > 0 && head[0] == '<'
}

// A scan is one call of Scan.
type scan struct {
	p        *eml.Part
	name     string // in its container; empty if it is in none
	findings []eml.Finding

	fields []string // codes of fields, of which each is in the one before; see field
	inCode bool     // the text is code of a field
	basic  *Basic   // the source of a module of OpenOffice; nil outside of one
}

// report adds a finding, once.
func (s *scan) report(check, detail string) {
	if s.name != "" {
		detail = strings.ToValidUTF8(s.name[max(len(s.name)-maxTarget, 0):], "_") + ": " + detail
	}
	told := func(f eml.Finding) bool { return f.Check == check && f.Detail == detail }
	if len(s.findings) < maxFindings && !slices.ContainsFunc(s.findings, told) {
		s.findings = append(s.findings, eml.Finding{Check: check, Part: s.p, Detail: detail})
	}
}

// xml looks at the elements that matter.
func (s *scan) xml(ctx context.Context) error {
	if found, err := scanners.Contains(scanners.WithoutZeros(scanners.ContextReader(ctx, s.p.Content())), marks...); !found || err != nil {
		return err
	}
	return s.tags(scanners.ContextReader(ctx, s.p.Content()))
}

func (s *scan) tags(r io.Reader) error {
	in := newTags(r)
	in.whole = func(text []byte) {
		if s.basic != nil {
			_, _ = s.basic.Write([]byte(unescape(string(text))))
		}
	}
	for {
		t, err := in.next()
		if err == io.EOF {
			s.endFields()
			return nil
		}
		if err != nil {
			return err
		}
		if s.inCode && len(s.fields) > 0 {
			s.addCode(unescape(string(in.text)))
		}
		s.element(t)
	}
}

// scanText is what Scan would find in XML of that name.
func scanText(name string, content []byte) []eml.Finding {
	s := &scan{name: name}
	_ = s.tags(bytes.NewReader(content)) // which can be read
	return s.findings
}

// element looks at one tag.
func (s *scan) element(t *tag) {
	switch t.name {
	case "instrText", "fldChar", "fldSimple":
		s.field(t)
		return
	case "module":
		s.module(t)
		return
	}
	if t.end {
		return
	}
	switch t.name {
	case "Relationship":
		s.relationship(t)
	case "attachedTemplate", "AttachedTemplate":
		if target := cmpOr(t.get("val"), t.get("HRef")); placeOf(target) == remote {
			s.report(RemoteTemplate, "the template is loaded from "+quoted(target))
		}
	case "ddeLink":
		s.report(DDE, fmt.Sprintf("a link to %s, topic %s", quoted(t.get("ddeService")), quoted(t.get("ddeTopic"))))
	case "dde-connection-decl", "dde-source":
		s.report(DDE, fmt.Sprintf("a link to %s, topic %s", quoted(t.get("dde-application")), quoted(t.get("dde-topic"))))
	case "macrosheet":
		s.report(XLM, "a sheet of macros")
	case "definedName":
		s.defined(t.get("name"), t.get("hidden"))
	case "ocx":
		if id := t.get("classid"); id != "" {
			s.report(ActiveX, "the control "+quoted(id))
		}
	case "event-listener":
		s.listener(t)
	}
}

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// defined looks at a name in a workbook: some are macros that run.
func (s *scan) defined(name, hidden string) {
	if !runsInWorkbook(name) {
		return
	}
	detail := "the name " + quoted(name)
	if hidden == "1" || hidden == "true" {
		detail += ", which is hidden,"
	}
	s.report(XLMAutorun, detail+" is a macro that runs by itself")
}

func runsInWorkbook(name string) bool {
	return strings.HasPrefix(strings.TrimPrefix(strings.ToLower(name), "_xlnm."), "auto_")
}

// relationship looks at what a part of a document refers to (ECMA-376 part 2, 9.3).
func (s *scan) relationship(t *tag) {
	kind, target := t.get("Type"), t.get("Target")
	kind = strings.ToLower(kind[strings.LastIndexByte(kind, '/')+1:])
	if kind == "xlmacrosheet" || kind == "xlintlmacrosheet" {
		s.report(XLM, "a sheet of macros, "+quoted(target))
	}
	if strings.EqualFold(strings.Trim(t.get("TargetMode"), blanks), "External") {
		if check, detail := relationship(t.get("Type"), target); check != "" {
			s.report(check, detail)
		}
	}
}

// loaded are the kinds of relationships to what is loaded, and not only shown, with the document.
var loaded = set("oleobject frame subdocument afchunk recipientdata mailmergesource control package htmlfile customui settings")

// relationship tells what a relationship to something outside of the document is; no check if it is a link
// to be clicked, which is judged where links are, or to nothing.
func relationship(typ, target string) (check, detail string) {
	typ = strings.Trim(typ, blanks)
	kind := typ[strings.LastIndexByte(typ, '/')+1:]
	lower := strings.ToLower(kind)
	where := placeOf(target)
	switch {
	case lower == "hyperlink", target == noTarget, lower == "attachedtemplate" && where == here:
		return "", ""
	case lower == "attachedtemplate":
		detail = "the template is loaded from " + quoted(target)
		if where == remote {
			return RemoteTemplate, detail
		}
		return External, detail
	case loaded[lower] && where == remote:
		return RemoteObject, fmt.Sprintf("%s is loaded from %s", kind, quoted(target))
	}
	return External, fmt.Sprintf("%s: %s", kind, quoted(target))
}

// listener looks at what OpenDocument runs at an event (ODF 1.3 part 3, 14.4).
func (s *scan) listener(t *tag) {
	event, what := t.get("event-name"), cmpOr(t.get("href"), t.get("macro-name"))
	if what == "" {
		return
	}
	detail := fmt.Sprintf("%s runs at the event %s", quoted(what), quoted(event))
	switch local(strings.ToLower(event)) {
	case "load", "on-load", "new", "on-new", "unload", "on-unload", "focus", "on-focus", "view-created", "load-finished", "startapp", "start-app",
		"prepareunload", "viewclosed", "close", "closeapp", "print", "save", "layout-finished":
		s.report(MacroAutorun, detail)
	default:
		s.report(Macro, detail)
	}
}

// module takes the source of a module of OpenOffice, which is the text of an element.
func (s *scan) module(t *tag) {
	switch {
	case !t.end && !t.empty && (t.get("language") != "" || t.get("name") != "") && s.basic == nil:
		s.basic = &Basic{}
		s.basic.Module(t.get("name"))
	case t.end && s.basic != nil:
		s.basic.Report(s.report)
		s.basic = nil
	}
}
