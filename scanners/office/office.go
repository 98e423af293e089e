package office

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"rastel/sanitize/eml"
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
var marks = []string{
	"Relationship", "instrText", "fldSimple", "ddeLink", "attachedTemplate", "macrosheet", "uto_", "classid",
	"event-listener", ":module", "dde-", "UTO_",
}

// maxFindings is how many findings about one part are kept.
const maxFindings = 20

// Scan reports what a part of a document does.
func (Scanner) Scan(ctx context.Context, p *eml.Part) ([]eml.Finding, error) {
	if !p.Leaf() || !p.Member() && len(p.Names) == 0 && p.Disposition != "attachment" && !p.Is("xml") {
		return nil, nil
	}
	s := &scan{p: p}
	var err error
	switch {
	case isTable(p):
		err = s.table(ctx)
	case p.Type == "xml" || p.Is("text") && begins(p):
		err = s.xml(ctx)
	case isBinaryWorkbook(p):
		err = s.workbook(ctx)
	}
	if err != nil {
		return s.findings, fmt.Errorf("read document: %w", err)
	}
	return s.findings, nil
}

// begins reports whether a text begins with a tag.
func begins(p *eml.Part) bool {
	head := bytes.TrimLeft(p.Head(64), "\x00\xef\xbb\xbf\xff\xfe \t\r\n\f")
	return len(head) > 0 && head[0] == '<'
}

// A scan is one call of Scan.
type scan struct {
	p        *eml.Part
	findings []eml.Finding

	fields []string // codes of fields, of which each is in the one before; see field
	inCode bool     // the text is code of a field
	basic  *Basic   // the source of a module of OpenOffice; nil outside of one
}

// report adds a finding, once.
func (s *scan) report(check, detail string) {
	if len(s.p.Names) > 0 && s.p.Member() {
		name := s.p.Names[0]
		detail = strings.ToValidUTF8(name[max(len(name)-maxTarget, 0):], "_") + ": " + detail
	}
	told := func(f eml.Finding) bool { return f.Check == check && f.Detail == detail }
	if len(s.findings) < maxFindings && !slices.ContainsFunc(s.findings, told) {
		s.findings = append(s.findings, eml.Finding{Check: check, Part: s.p, Detail: detail})
	}
}

// A contextReader reads until its context ends.
type contextReader struct {
	ctx context.Context //nolint:containedctx // lives as long as one call of Scan
	r   io.Reader
}

func (r *contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

// xml looks at the elements that matter.
func (s *scan) xml(ctx context.Context) error {
	if found, err := contains(&contextReader{ctx, s.p.Content()}, marks); !found || err != nil {
		return err
	}
	in := newTags(&contextReader{ctx, s.p.Content()})
	for {
		t, err := in.next()
		if err == io.EOF {
			s.endFields()
			return nil
		}
		if err != nil {
			return err
		}
		s.take(string(in.text))
		s.element(t)
	}
}

// element looks at one tag.
func (s *scan) element(t *tag) {
	switch t.name {
	case "instrText", "fldChar", "fldSimple", "p":
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
		s.name(t.get("name"), t.get("hidden"))
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

// name looks at a name in a workbook: some are macros that run.
func (s *scan) name(name, hidden string) {
	if n := strings.ToLower(strings.TrimPrefix(strings.ToLower(name), "_xlnm.")); strings.HasPrefix(n, "auto_") {
		detail := "the name " + quoted(name)
		if hidden == "1" || hidden == "true" {
			detail += ", which is hidden,"
		}
		s.report(XLMAutorun, detail+" is a macro that runs by itself")
	}
}

// relationship looks at what a part of a document refers to (ECMA-376 part 2, 9.3).
func (s *scan) relationship(t *tag) {
	kind := t.get("Type")
	kind = kind[strings.LastIndexByte(kind, '/')+1:]
	target := t.get("Target")
	if strings.EqualFold(kind, "xlMacrosheet") || strings.EqualFold(kind, "xlIntlMacrosheet") {
		s.report(XLM, "a sheet of macros, "+quoted(target))
	}
	if !strings.EqualFold(strings.Trim(t.get("TargetMode"), blanks), "External") {
		return
	}
	where := placeOf(target)
	switch lower := strings.ToLower(kind); lower {
	case "hyperlink":
		return // to be clicked, and judged where links are
	case "attachedtemplate":
		if where == remote {
			s.report(RemoteTemplate, "the template is loaded from "+quoted(target))
		} else if where == network {
			s.report(External, "the template is loaded from "+quoted(target))
		}
	case "oleobject", "frame", "subdocument", "afchunk", "recipientdata", "mailmergesource", "control", "package", "htmlfile", "customui", "settings":
		if where == remote {
			s.report(RemoteObject, fmt.Sprintf("%s is loaded from %s", kind, quoted(target)))
			return
		}
		s.report(External, fmt.Sprintf("%s: %s", kind, quoted(target)))
	default:
		s.report(External, fmt.Sprintf("%s: %s", kind, quoted(target)))
	}
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

// take takes the text before a tag.
func (s *scan) take(text string) {
	if s.basic != nil {
		_, _ = s.basic.Write([]byte(unescape(text)))
	}
	if s.inCode && len(s.fields) > 0 {
		s.addCode(unescape(text))
	}
}
