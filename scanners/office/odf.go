package office

import (
	"bytes"
	"path"
	"slices"
	"strings"

	"rastel/sanitize/eml"
)

// The parts of a document of OpenDocument (ODF 1.3 part 2).
const (
	odfType     = "mimetype"
	odfTypes    = "application/vnd.oasis.opendocument"
	odfManifest = "META-INF/manifest.xml"
)

// odfMacros are the folders that macros are in, and the dialogs that they show.
var odfMacros = []string{"basic/", "scripts/", "dialogs/"}

func isODFMacro(name string) bool {
	return slices.ContainsFunc(odfMacros, func(dir string) bool { return strings.HasPrefix(key(name), dir) })
}

// isScript reports whether a member of OpenDocument is a macro in another language than Basic.
func isScript(p *eml.Part) bool {
	if !p.Member() || p.Size == 0 || !slices.ContainsFunc(p.Names, func(n string) bool { return strings.HasPrefix(key(n), "scripts/") && path.Ext(n) != ".xml" }) {
		return false
	}
	return bytes.Contains(p.Parent.Head(200), []byte(odfType+odfTypes))
}

// isOpenDocument is the error if the document is none.
func (d *disarmer) isOpenDocument() error {
	e := d.find(odfType)
	if e == nil || e.full > 200 || d.find(odfManifest) == nil {
		return wrong("it has no list of what is in it")
	}
	b, err := d.part(e)
	if err == nil && !bytes.HasPrefix(b, []byte(odfTypes)) {
		err = wrong("it is of no type that is known")
	}
	return err
}

// noteODF is note for OpenDocument.
func (d *disarmer) noteODF(e *entry, direct bool, check string) bool {
	switch check {
	case Macro, MacroAutorun, MacroSuspicious:
	default:
		return false
	}
	if d.macros == nil {
		d.macros = map[*entry]bool{}
	}
	d.macros[e] = true
	return isODFMacro(e.name) || direct && strings.HasSuffix(key(e.name), ".xml")
}

// doODF leaves out the folders with macros, and in other parts the listeners that run macros.
func (d *disarmer) doODF() error {
	if len(d.macros) == 0 {
		return nil
	}
	for _, e := range d.entries {
		e.dropped = isODFMacro(e.name)
	}
	err := d.change(d.find(odfManifest), func(f *element) (string, bool, error) {
		return "", f.name == "file-entry" && isODFMacro(f.get("full-path")), nil
	})
	if err != nil {
		return err
	}
	for e := range d.macros {
		if e.dropped {
			continue
		}
		err := d.change(e, func(l *element) (string, bool, error) {
			return "", l.name == "event-listener" && cmpOr(l.get("href"), l.get("macro-name")) != "", nil
		})
		if err != nil {
			return err
		}
		content, err := d.part(e)
		if err != nil {
			return err
		}
		for _, f := range scanText(e.name, content) {
			if f.Check == Macro || f.Check == MacroAutorun || f.Check == MacroSuspicious {
				return wrong("what runs a macro is still there")
			}
		}
	}
	return nil
}
