package pdf

import (
	"slices"
	"strings"
)

// atOpening are the events of the dictionary AA that come without a click: of the document, of a page, and
// of an annotation that its page shows (12.6.3). Those of form fields are not among them, which have
// calculated and checked numbers since there are forms.
var atOpening = map[string]string{
	"O": "when the page is opened", "C": "when the page is closed", "PO": "when the page is opened", "PC": "when the page is closed",
	"PV": "when the page is shown", "PI": "when the page is not shown any more", "WC": "when the document is closed",
	"WS": "when the document is saved", "DS": "when the document was saved", "WP": "when the document is printed", "DP": "when the document was printed",
}

// triggers looks at the events of a dictionary AA.
func (o *opening) triggers(e *entry, at string, key, v value) error {
	fields := strings.HasPrefix(at, "form field")
	return o.each(e, v, 0, func(in *entry, events value) error {
		for event, action := range events.pairs {
			name := event.name()
			when, ok := atOpening[name]
			if !ok || fields && name == "C" { // calculates
				continue
			}
			if err := o.opensAt(e, at, when, key, in, action); err != nil {
				return err
			}
		}
		return nil
	})
}

// opens looks at what happens at an event, whose key is given.
func (o *opening) opens(e *entry, at, when string, key, v value) error {
	return o.opensAt(e, at, when, key, e, v)
}

// opensAt is the same for an action that is in another object than the key.
func (o *opening) opensAt(e *entry, at, when string, key value, in *entry, v value) error {
	left := maxActions
	return o.chain(in, v, 0, &left, func(kind, target string) {
		what := kind
		if target != "" {
			what += " " + target
		}
		o.saw(openAction, e, at, when+": "+what, key)
		if isServer(target) {
			o.saw(server, e, at, when+": "+what, key)
		}
	})
}

// openKinds are the kinds of actions that do more than to show another place of the document.
var openKinds = []string{"JavaScript", "Launch", "URI", "SubmitForm", "ImportData", "GoToR", "GoToE", "Rendition"}

// chain calls found with each action of some consequence that v is or leads to, and what it is about.
func (o *opening) chain(e *entry, v value, depth int, left *int, found func(kind, target string)) error {
	return o.each(e, v, 0, func(e *entry, v value) error {
		if *left--; *left < 0 || depth > maxChain {
			return nil
		}
		if v.kind() == kindArray { // of actions that follow; or a place in the document
			for item := range v.items {
				if k := item.kind(); k == kindDict || k == kindRef && depth > 0 {
					if err := o.chain(e, item, depth+1, left, found); err != nil {
						return err
					}
				}
			}
			return nil
		}
		name, err := o.d.deref(v.get("S"))
		if err != nil {
			return err
		}
		kind := name.name()
		switch {
		case kind == "Rendition" && v.get("JS").kind() == kindNull:
		case kind == "JavaScript" || kind == "Rendition":
			found("JavaScript", o.shown(e, v.get("JS")))
		case kind == "URI":
			found(kind, o.shown(e, v.get("URI")))
		case kind == "Launch":
			names, parameters, err := o.launched(e, v)
			if err != nil {
				return err
			}
			found(kind, shorten(firstTarget(names)+parameters))
		case slices.Contains(openKinds, kind):
			found(kind, o.target(e, v))
		}
		if next := v.get("Next"); next.kind() != kindNull {
			return o.chain(e, next, depth+1, left, found)
		}
		return o.tick()
	})
}
