package pdf

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// The checks about what a document does. Each has at most one finding, which tells where.
const (
	javascript    = "pdf/javascript"
	openAction    = "pdf/open-action"
	launch        = "pdf/launch"
	server        = "pdf/server"
	submitForm    = "pdf/submit-form"
	importData    = "pdf/import-data"
	uriExecutable = "pdf/uri-executable"
	remote        = "pdf/remote-document"
	richMedia     = "pdf/rich-media"
	xfa           = "pdf/xfa"
	embeddedFile  = "pdf/embedded-file"
	nameDisguise  = "pdf/name-disguise"
)

// doChecks are these checks, in the order in which they are told.
var doChecks = []string{launch, server, openAction, javascript, submitForm, importData, uriExecutable, remote, richMedia, xfa, embeddedFile, nameDisguise}

const (
	// maxTold is how many places one finding tells, and maxShown how many characters of what the sender
	// wrote are shown at a place.
	maxTold, maxShown = 5, 120
	// maxMarks is how many names of one check are changed.
	maxMarks = 50_000
	// maxActions is how many actions that follow one another are looked at, and maxChain how far one
	// leads to another.
	maxActions, maxChain = 64, 8
	// maxSteps is how many actions at events, and names of files in actions, of one document are looked at.
	maxSteps = 20_000
)

// A mark is where a name stands that makes something happen: in the file, or in the text of all object
// streams.
type mark struct {
	inTexts bool
	off     int64
}

// A deed is what one check has seen of a document.
type deed struct {
	places []string
	more   int    // of them
	last   string // of them
	marks  map[mark]bool
	stuck  string // why it cannot be taken out; empty: it can
}

// saw notes what a check has seen at an entry, and the names that are to be changed against it.
func (o *opening) saw(check string, e *entry, where, what string, names ...value) {
	if o.deeds == nil {
		o.deeds = map[string]*deed{}
	}
	d := o.deeds[check]
	if d == nil {
		d = &deed{marks: map[mark]bool{}}
		o.deeds[check] = d
	}
	for _, n := range names {
		d.mark(mark{e.has(inObjects), n.node().num})
	}
	if what != "" {
		where += ": " + what
	}
	switch {
	case where == d.last || slices.Contains(d.places, where):
	case len(d.places) < maxTold:
		d.places = append(d.places, where)
	default:
		d.more++
	}
	d.last = where
}

func (d *deed) mark(m mark) {
	if len(d.marks) >= maxMarks {
		d.stuck = "there are too many of them"
		return
	}
	d.marks[m] = true
}

// where says in which object something is.
func where(e *entry, obj *object) string {
	num := e.num
	if e.alias != 0 {
		num = e.alias
	}
	dict := obj.value()
	what := "object"
	switch typ, sub := dict.get("Type").name(), dict.get("Subtype").name(); {
	case typ == "Catalog":
		what = "catalog, object"
	case typ == "Page":
		what = "page, object"
	case sub == "Widget" || dict.get("FT").kind() == kindName:
		what = "form field, object"
	case sub == "Link":
		what = "link, object"
	case typ == "Annot":
		what = "annotation, object"
	case typ == "Outlines" || dict.get("Title").kind() == kindString && dict.get("Parent").kind() == kindRef:
		what = "bookmark, object"
	}
	return fmt.Sprintf("%s %d", what, num)
}

// act notes what one dictionary of an object has the document do.
func (o *opening) act(e *entry, obj *object, dict value) error {
	at := where(e, obj)
	for key, v := range dict.pairs {
		var err error
		switch string(key.bytes()) {
		case "S":
			err = o.each(e, v, 0, func(in *entry, kind value) error {
				name := kind.name()
				if v.kind() == kindRef { // so the key is what can be changed
					kind = key
				}
				return o.action(e, at, dict, name, kind)
			})
		case "JS", "OnInstantiate":
			o.saw(javascript, e, at, o.shown(e, v), key)
		case "JavaScript":
			if v.kind() == kindDict || v.kind() == kindRef { // a name tree, in the catalog
				o.saw(javascript, e, at, "scripts of the document", key)
				o.saw(openAction, e, at, "scripts of the document", key)
			}
		case "OpenAction":
			err = o.opens(e, at, "when the document is opened", key, v)
		case "AA":
			err = o.triggers(e, at, key, v)
		case "URI":
			if uri, why := o.badURI(e, v); why != "" {
				o.saw(uriExecutable, e, at, fmt.Sprintf("%s: %s", why, uri), key)
			}
		case "XFA":
			o.saw(xfa, e, at, "", key)
		case "Subtype":
			if v.is("RichMedia") || v.is("3D") {
				o.saw(richMedia, e, at, v.name(), v)
			}
		}
		if err != nil {
			return err
		}
	}
	return o.elsewhere(e, at, obj, dict)
}

// action notes what an action of that name does (12.6), by which name it may be taken out.
func (o *opening) action(e *entry, at string, dict value, name string, kind value) error {
	switch name {
	case "JavaScript":
		what := ""
		if dict.get("JS").kind() == kindNull {
			what = "an action without a script"
		}
		if d := o.deeds[javascript]; what != "" || d == nil || !d.marks[mark{e.has(inObjects), dict.key("JS").node().num}] {
			o.saw(javascript, e, at, cmpText(what, o.shown(e, dict.get("JS"))), kind)
		} else {
			d.mark(mark{e.has(inObjects), kind.node().num})
		}
	case "Launch":
		command, err := o.command(e, dict)
		if err != nil {
			return err
		}
		if command == "" {
			o.saw(remote, e, at, "opens "+shorten(strings.Join(o.targets(e, dict), ", ")), kind)
			return nil
		}
		o.saw(launch, e, at, command, append(dict.keys("F", "Win", "Mac", "Unix"), kind)...)
	case "SubmitForm":
		o.saw(submitForm, e, at, "to "+o.target(e, dict), append(dict.keys("F"), kind)...)
	case "ImportData":
		o.saw(importData, e, at, "from "+o.target(e, dict), append(dict.keys("F"), kind)...)
	case "GoToR", "GoToE":
		if dict.get("F").kind() != kindNull {
			o.saw(remote, e, at, "opens "+o.target(e, dict), append(dict.keys("F"), kind)...)
		}
	}
	return o.d.file.err
}

func cmpText(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// elsewhere notes a stream whose content is in another file (7.3.8.2).
func (o *opening) elsewhere(e *entry, at string, obj *object, dict value) error {
	if !e.has(hasStream) || dict != obj.value() {
		return nil
	}
	if key := dict.key("F"); key.kind() == kindName {
		o.saw(remote, e, at, "has content from "+o.target(e, dict), key)
	}
	return o.d.file.err
}

// tooMany counts one thing more that is looked at, and reports whether that is too much.
func (o *opening) tooMany() bool {
	if o.steps++; o.steps > maxSteps {
		o.d.limit("more than 20000 actions")
		return true
	}
	return false
}

// each calls f with a value, or with all versions of what it refers to, and the entry that it is in.
func (o *opening) each(e *entry, v value, depth int, f func(*entry, value) error) error {
	if v.kind() != kindRef {
		return f(e, v)
	}
	if depth >= maxDeref || o.tooMany() {
		return nil
	}
	all := o.d.all(uint32(clamp(v.node().num, 1<<32-1)))
	for _, i := range all[max(len(all)-maxVersions, 0):] {
		obj, in := new(object), &o.d.entries[i]
		if err := o.d.load(in, obj); err != nil {
			return err
		}
		if err := o.each(in, obj.value(), depth+1, f); err != nil {
			return err
		}
	}
	return nil
}

// keys are the keys of those names that a dictionary has.
func (v value) keys(names ...string) (found []value) {
	for _, n := range names {
		if k := v.key(n); k.kind() == kindName {
			found = append(found, k)
		}
	}
	return found
}

// key is the key of that name of a dictionary, the last one; null if there is none.
func (v value) key(name string) (found value) {
	for k := range v.pairs {
		if k.is(name) {
			found = k
		}
	}
	return found
}

// shown is the beginning of a text, for people.
func (o *opening) shown(e *entry, v value) string {
	for _, s := range o.strings(e, v) {
		if s = shorten(s); s != "" {
			return s
		}
	}
	if v.kind() == kindRef {
		return fmt.Sprintf("in object %d", v.node().num)
	}
	return ""
}

// shorten makes one short line of what the sender wrote.
func shorten(s string) string {
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
	if len(s) > maxShown {
		return strings.ToValidUTF8(s[:maxShown], "") + "..."
	}
	return s
}

// targets are the names of the file that an action is about: a string, or a file specification.
func (o *opening) targets(e *entry, dict value) []string {
	return o.fileTargets(e, dict.get("F"))
}

func (o *opening) fileTargets(e *entry, v value) (list []string) {
	if v.kind() == kindNull || v.kind() == kindRef && o.steps > maxSteps {
		return nil
	}
	list = o.strings(e, v)
	_ = o.each(e, v, 0, func(in *entry, v value) error { // an error of reading stays with the cursor
		if v.kind() == kindDict {
			names, _ := o.fileNames(in, v, nil)
			list = append(list, names...)
		}
		return nil
	})
	return list
}

// target is the first of them that tells of a server, or the first of all.
func (o *opening) target(e *entry, dict value) string { return firstTarget(o.targets(e, dict)) }

func firstTarget(list []string) string {
	for _, s := range list {
		if isServer(s) {
			return shorten(s)
		}
	}
	if len(list) == 0 {
		return "an unknown place"
	}
	return shorten(list[0])
}

// command is what a launch action starts; empty if it opens a document of a kind that starts nothing
// (12.6.4.5).
func (o *opening) command(e *entry, dict value) (string, error) {
	names, parameters, err := o.launched(e, dict)
	if err != nil {
		return "", err
	}
	harmless := len(names) > 0 && strings.TrimSpace(parameters) == ""
	for _, n := range names {
		harmless = harmless && isDocument(n) && !isServer(n)
	}
	if harmless {
		return "", nil
	}
	if len(names) == 0 {
		names = []string{"something"}
	}
	return shorten("starts " + names[0] + parameters), nil
}

// launched are the files that a launch action opens, and their parameters.
func (o *opening) launched(e *entry, dict value) (names []string, parameters string, err error) {
	names = o.targets(e, dict)
	for _, key := range []string{"Win", "Mac", "Unix"} {
		err := o.each(e, dict.get(key), 0, func(in *entry, win value) error {
			if win.kind() != kindDict {
				return nil
			}
			names = append(names, o.fileTargets(in, win.get("F"))...)
			for _, s := range o.strings(in, win.get("P")) {
				parameters += " " + s
			}
			return nil
		})
		if err != nil {
			return nil, "", err
		}
	}
	return names, parameters, nil
}
