package office

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"rastel/sanitize/eml"
)

// What takes the place of what is loaded. Word goes by its own template where the one that is named is
// not to be found.
const (
	noTemplate = "Normal.dotm"
	noTarget   = "about:blank"
)

// Disarm gives the edits that take what was found out of a document of Office 2007 or later (macros, sheets
// of macros as XML, templates, objects and other things that are loaded from elsewhere) or of OpenDocument
// (macros and what runs them). The findings are of this package, about the document or about members of it. All parts that need no change stay as they are,
// byte for byte. Where not all of it can be taken out, or the document is not packed as office programs
// pack it, that is an error.
//
// A .docm stays one, by its name and type: a document that may have macros and has none. A signature of
// the document is no longer good.
func Disarm(p *eml.Part, list []eml.Finding) ([]eml.Edit, error) {
	if p.Member() {
		return nil, errors.New("the document is in an archive")
	}
	doc, err := openPack(p.Content(), p.Size)
	if err != nil {
		return nil, err
	}
	d := &disarmer{pack: doc, of: p}
	note, do := d.note, d.do
	if doc.find(contentTypes) == nil {
		if err := d.isOpenDocument(); err != nil {
			return nil, err
		}
		note, do = d.noteODF, d.doODF
	}
	for _, f := range list {
		e, direct := d.entryOf(f.Part)
		if e == nil {
			return nil, fmt.Errorf("%s in %s is in no part of the document", f.Check, f.Part.ID)
		}
		if !note(e, direct, f.Check) {
			return nil, fmt.Errorf("%s in the part %s cannot be taken out", f.Check, quoted(e.name))
		}
	}
	if err := do(); err != nil {
		return nil, err
	}
	return doc.edits(p), nil
}

const contentTypes = "[Content_Types].xml"

// A disarmer is one call of Disarm.
type disarmer struct {
	*pack
	of     *eml.Part
	macros map[*entry]bool   // parts with macros, which must be gone in the end
	sheets map[*entry]bool   // parts that tell of sheets of macros; these are emptied, and names that run them left out
	loads  map[*entry]checks // parts with relationships, and which kinds of them lose their targets
}

type checks map[string]bool

// note notes what is to be done about a finding, and reports whether anything can be: it is about an entry,
// or (not direct) about what is in one.
func (d *disarmer) note(e *entry, direct bool, check string) bool {
	isRels := strings.HasSuffix(key(e.name), ".rels")
	switch check {
	case Macro, MacroAutorun, MacroSuspicious, MacroHidden:
		if d.macros == nil {
			d.macros = map[*entry]bool{}
		}
		d.macros[e] = true
		return true
	case XLM, XLMAutorun:
		if direct && (isRels || strings.HasSuffix(key(e.name), ".xml")) {
			if d.sheets == nil {
				d.sheets = map[*entry]bool{}
			}
			d.sheets[e] = true
			return true
		}
	case RemoteTemplate, RemoteObject, External:
		if direct && isRels {
			if d.loads == nil {
				d.loads = map[*entry]checks{}
			}
			if d.loads[e] == nil {
				d.loads[e] = checks{}
			}
			d.loads[e][check] = true
			return true
		}
	}
	return false
}

// entryOf is the entry that a part of the message is, or is in.
func (d *disarmer) entryOf(p *eml.Part) (e *entry, direct bool) {
	direct = true
	for ; p != nil && p != d.of; p = p.Parent {
		if p.Parent == d.of {
			for _, name := range p.Names {
				if e = d.find(name); e != nil {
					break
				}
			}
			return e, direct
		}
		direct = false
	}
	return nil, false
}

// do does it.
func (d *disarmer) do() error {
	for _, e := range d.entries {
		if err := d.relations(e); err != nil {
			return err
		}
	}
	if err := d.types(); err != nil {
		return err
	}
	for e := range d.macros {
		if !e.dropped {
			return fmt.Errorf("macros in the part %s cannot be taken out", quoted(e.name))
		}
	}
	if len(d.sheets) > 0 {
		if err := d.names(); err != nil {
			return err
		}
	}
	return d.check()
}

// macroRelations are the kinds of relationships that lead to macros, and to what belongs to them.
var macroRelations = set("vbaproject wordvbadata vbaprojectsignature vbaprojectsignatureagile vbaprojectsignaturev3")

// kindOf is the end of the type of a relationship.
func kindOf(e *element) string {
	t := strings.Trim(e.get("Type"), blanks)
	return strings.ToLower(t[strings.LastIndexByte(t, '/')+1:])
}

// relations changes a part with relationships.
func (d *disarmer) relations(e *entry) error {
	name := key(e.name)
	if !strings.HasSuffix(name, ".rels") || e.dropped || len(d.macros) == 0 && len(d.sheets) == 0 && d.loads[e] == nil {
		return nil
	}
	source := path.Join(path.Dir(path.Dir("/"+name)), strings.TrimSuffix(path.Base(name), ".rels"))
	return d.change(e, func(r *element) (string, bool, error) {
		if r.name != "Relationship" {
			return "", false, nil
		}
		kind := kindOf(r)
		external := strings.EqualFold(strings.Trim(r.get("TargetMode"), blanks), "External")
		switch {
		case len(d.macros) > 0 && macroRelations[kind]:
			if part := d.find(resolve(source, r.get("Target"))); !external && part != nil {
				d.drop(part)
			}
			return "", true, nil
		case len(d.sheets) > 0 && !external && (kind == "xlmacrosheet" || kind == "xlintlmacrosheet"):
			return d.empty(r, resolve(source, r.get("Target")))
		case external && d.loads[e] != nil:
			check, _ := relationship(r.get("Type"), r.get("Target"))
			if check == "" || !d.loads[e][check] {
				return "", false, nil
			}
			target := noTarget
			if kind == "attachedtemplate" {
				target = noTemplate
			}
			tag, err := r.with("Target", target)
			return tag, false, err
		}
		return "", false, nil
	})
}

// drop leaves out a part with its relationships.
func (d *disarmer) drop(e *entry) {
	e.dropped = true
	dir, base := path.Split(e.name)
	if rels := d.find(dir + "_rels/" + base + ".rels"); rels != nil && !rels.dropped {
		d.dropRelated(rels)
		rels.dropped = true
	}
}

// dropRelated leaves out what belongs to macros that are left out, such as their events in Word and their
// signatures.
func (d *disarmer) dropRelated(rels *entry) {
	content, err := d.part(rels)
	if err != nil {
		return // what it leads to stays, and nothing leads to it
	}
	source := path.Join(path.Dir(path.Dir("/"+key(rels.name))), strings.TrimSuffix(path.Base(key(rels.name)), ".rels"))
	_, _ = rewrite(content, func(r *element) (string, bool, error) {
		if part := d.find(resolve(source, r.get("Target"))); r.name == "Relationship" && macroRelations[kindOf(r)] && part != nil {
			part.dropped = true
		}
		return "", false, nil
	})
}

const (
	typeOfSheet     = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet"
	contentOfSheet  = "application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"
	emptySheet      = `<?xml version="1.0" encoding="UTF-8" standalone="yes"?>` + "\n" + `<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData/></worksheet>`
	macroEndOfType  = "macrosheet+xml"
	macroPartOfType = "vbaproject"
)

// empty makes a sheet of macros one of cells, with nothing in it: other parts may refer to it.
func (d *disarmer) empty(r *element, name string) (string, bool, error) {
	e := d.find(name)
	if e == nil || !strings.HasSuffix(key(name), ".xml") {
		return "", false, fmt.Errorf("the sheet of macros %s cannot be taken out", quoted(name))
	}
	e.content = []byte(emptySheet)
	dir, base := path.Split(e.name)
	if rels := d.find(dir + "_rels/" + base + ".rels"); rels != nil {
		rels.dropped = true
	}
	tag, err := r.with("Type", typeOfSheet)
	return tag, false, err
}

// types takes what is left out from the list of content types, and parts with macros that nothing leads
// to.
func (d *disarmer) types() error {
	list := d.find(contentTypes)
	return d.change(list, func(t *element) (string, bool, error) {
		if t.name != "Override" {
			return "", false, nil
		}
		e := d.find(t.get("PartName"))
		kind := strings.ToLower(t.get("ContentType"))
		switch {
		case e == nil:
			return "", false, nil
		case len(d.macros) > 0 && strings.Contains(kind, macroPartOfType):
			d.drop(e)
			return "", true, nil
		case e.dropped:
			return "", true, nil
		case len(d.sheets) > 0 && strings.HasSuffix(kind, macroEndOfType):
			e.content = []byte(emptySheet)
			tag, err := t.with("ContentType", contentOfSheet)
			return tag, false, err
		}
		return "", false, nil
	})
}

// names leaves out names of workbooks that are macros which run by themselves.
func (d *disarmer) names() error {
	for _, e := range d.entries {
		base := path.Base(key(e.name))
		if e.dropped || base != "workbook.xml" {
			continue
		}
		err := d.change(e, func(n *element) (string, bool, error) {
			return "", n.name == "definedName" && runsInWorkbook(n.get("name")), nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// change rewrites a part, if that changes it.
func (d *disarmer) change(e *entry, f func(*element) (string, bool, error)) error {
	content, err := d.part(e)
	if err != nil {
		return err
	}
	changed, err := rewrite(content, f)
	if err != nil {
		return fmt.Errorf("the part %s: %w", quoted(e.name), err)
	}
	if string(changed) != string(content) {
		e.content = changed
	}
	return nil
}

// check looks at what was to be changed as Scan does, which is less strict: it must find nothing any more
// that was to be taken out.
func (d *disarmer) check() error {
	for _, e := range d.entries {
		if e.dropped || e.content == nil && d.loads[e] == nil && !d.sheets[e] {
			continue
		}
		content, err := d.part(e)
		if err != nil {
			return err
		}
		for _, f := range scanText(e.name, content) {
			if d.loads[e][f.Check] || len(d.sheets) > 0 && (f.Check == XLM || f.Check == XLMAutorun) {
				return fmt.Errorf("%s in the part %s cannot be taken out", f.Check, quoted(e.name))
			}
		}
	}
	return nil
}
