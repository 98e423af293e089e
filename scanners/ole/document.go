package ole

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"rastel/sanitize/eml"
	"rastel/scanners"
	"rastel/scanners/office"
)

// Files opens compound files, whatever they are called: messages of Outlook, documents of Office up
// to 2003, objects in documents, installers.
type Files struct{}

// Checks are all checks that Expand may report.
func (Files) Checks() []eml.Check {
	list := append([]eml.Check{damagedCheck, encryptedCheck}, openedChecks...)
	return append(list, office.Checks(office.Macro, office.MacroAutorun, office.MacroSuspicious, office.MacroHidden, office.MacroHash, office.XLM, office.XLMAutorun,
		office.DDE, office.External, office.RemoteTemplate, office.RemoteObject, office.Package, office.ActiveX, office.Equation, office.EquationExploit)...)
}

// Scan finds nothing: all that is to be said about a compound file is said by Expand.
func (Files) Scan(context.Context, *eml.Part) ([]eml.Finding, error) { return nil, nil }

// Opens reports whether p is a compound file.
func (Files) Opens(p *eml.Part) bool { return p.Type == "ole" }

// Expand yields the bodies of the message in p, its attachments, and those of the messages in it; of
// other compound files the files that are packed in their objects, the source of macros, and what
// else is in their streams and could be something.
func (Files) Expand(ctx context.Context, p *eml.Part, b *scanners.Budget, yield func(*eml.Part) error) ([]eml.Finding, error) {
	if p.Type != "ole" {
		return nil, nil
	}
	f := &file{output: output{ctx: ctx, p: p, b: b, yield: yield}}
	c, err := open(p.Content(), p.Size)
	if err != nil && !errors.Is(err, errFormat) {
		return nil, err
	}
	if err != nil {
		f.damaged(err.Error())
	}
	if c == nil {
		return f.findings, nil
	}
	f.c = c
	if err = f.all(); err == nil {
		f.tellKnown()
	}
	return f.findings, err
}

// A file is one call of Expand.
type file struct {
	output
	c        *compound
	basic    *office.Basic // of the project that is opened
	projects projects
}

func (f *file) damaged(detail string) { f.report(damaged, detail) }

// member yields what r gives as a member of that name and type.
func (f *file) member(names []string, mediaType string, r io.Reader) error {
	bad, err := f.output.member(names, mediaType, r)
	if bad != nil {
		f.damaged(fmt.Sprintf("a stream: %v", bad))
	}
	return err
}

// all opens the file as a message if it is one, and as anything else.
func (f *file) all() error {
	if f.c.root.find(propertyStream) == nil && !isMessageLabel(f.p) {
		return f.walk(f.c.root, nil)
	}
	if err := f.message(f.c.root, 0); err != nil {
		return err
	}
	rest := *f.c.root // what a message does not have: other programs look at that
	rest.children = nil
	for _, child := range f.c.root.children {
		if _, ok := cutPrefixFold(child.name, "__"); !ok {
			rest.children = append(rest.children, child)
		}
	}
	return f.walk(&rest, nil)
}

// walk yields what is in a storage and the storages in it. What has no name of its own gets those.
func (f *file) walk(root *node, names []string) error {
	todo := []*node{root}
	for len(todo) > 0 {
		n := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if err := f.storage(n, names); err != nil {
			return err
		}
		for _, child := range n.children {
			if child.storage && !strings.EqualFold(child.name, "\x06DataSpaces") { // of encrypted documents
				todo = append(todo, child)
			}
		}
	}
	return nil
}

// storage yields what is in the streams of a storage.
func (f *file) storage(n *node, names []string) error {
	if err := f.ctx.Err(); err != nil {
		return err
	}
	if e := f.c.encryption(n, f.read); e != nil {
		if err := f.unlock(e); err != nil {
			return err
		}
	}
	if isProject(n) {
		return f.project(n)
	}
	f.object(n)
	for _, child := range n.children {
		if child.storage {
			continue
		}
		if err := f.stream(child, names); err != nil {
			return err
		}
	}
	return nil
}

// stream yields what is in a stream.
func (f *file) stream(n *node, names []string) error {
	if ofInstaller(n.name) {
		return f.installerStream(n)
	}
	switch name := strings.ToLower(n.name); {
	case name == "\x03vbframe": // what is in a form is not in the hash of its project, and macros read it
		f.projects.not = true
	case name == "workbook" || name == "book":
		return f.workbook(n)
	case name == "worddocument":
		return f.fields(n)
	case name == "\x01ole":
		return f.link(n)
	case name == "\x01ole10native":
		return f.native(n, names)
	case name == "powerpoint document":
		return f.slides(n)
	case name == "pictures":
		return f.pictures(n)
	case ofProgram[name] || n.size == 0:
		return nil
	}
	return f.member(streamNames(n.name, names), "", f.c.content(n))
}

// streamNames are the names of a stream that has no others: what other programs unpack it as.
func streamNames(name string, names []string) []string {
	if len(names) > 0 {
		return names
	}
	name = strings.TrimLeft(name, "\x01\x02\x03\x04\x05\x06\x09")
	if name == "" {
		return nil
	}
	return []string{name}
}

// ofProgram are streams that mean something only to the program that wrote them, in lower case. They
// are examined with the file as a whole; a file that is packed in one of them has a case of its own.
var ofProgram = func() map[string]bool {
	m := map[string]bool{}
	for _, name := range []string{
		"worddocument", "0table", "1table", "data", // MS-DOC 2.1
		"workbook", "book", "revision log", "user names", "ctls", // MS-XLS 2.1.7
		"current user", "encryptedsummary", // MS-PPT 2.1
		"encryptioninfo", "encryptedpackage", // MS-OFFCRYPTO 2.3.4
		"\x05summaryinformation", "\x05documentsummaryinformation", "\x05digitalsignature", "\x05msidigitalsignatureex",
		"\x01compobj", "\x01ole", "\x03objinfo", "\x03linkinfo", // MS-OLEDS 2.3
		"project", "projectwm", "projectlk", // MS-OVBA 2.3; \x03VBFrame is text that is looked at
	} {
		m[name] = true
	}
	return m
}()
