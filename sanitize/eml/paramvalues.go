package eml

import (
	"slices"
	"strings"
)

// values are all values that some client would take for the parameter, each once: the plain
// ones in order, then the extended ones, then the joined continuations.
func (f *parsedField) values(name string) []string {
	var out distinct
	f.own(name, &out)
	for i := range f.alts {
		f.alts[i].own(name, &out)
	}
	return out.list
}

// briefs are the values of a parameter as strict clients read them, where those differ.
func (f *parsedField) briefs(name string) (list []string) {
	for _, p := range f.params {
		if p.name == name && p.brief != "" {
			list = append(list, p.brief)
		}
	}
	return list
}

// first is for each parameter the first of its values, which is what most clients take.
func (f *parsedField) first() map[string]string {
	first := f.firstOwn()
	for i := range f.alts {
		var alt map[string]string
		for name, v := range first {
			if v != "" {
				continue
			}
			if alt == nil {
				alt = f.alts[i].firstOwn()
			}
			first[name] = alt[name]
		}
	}
	return first
}

func (f *parsedField) firstOwn() map[string]string {
	lists := map[string][]param{}
	for _, p := range f.params {
		lists[p.name] = append(lists[p.name], p)
	}
	first := make(map[string]string, len(lists))
	for name, list := range lists {
		var values distinct
		addValues(list, &values)
		first[name] = firstOf(values.list)
	}
	return first
}

// boundaries are the values of the boundary parameter, and doubtful ones: in mail that is sound but
// for its form, some clients see those, and find no parts with them.
func (f *parsedField) boundaries() (certain, doubtful []string) {
	var sure distinct
	f.own("boundary", &sure)
	for i := range f.alts {
		if !f.alts[i].fold {
			f.alts[i].own("boundary", &sure)
		}
	}
	certain = sure.list
	for _, v := range f.values("boundary") {
		if !sure.has(v) {
			doubtful = append(doubtful, v)
		}
		if d := percentDecode(v); d != v {
			doubtful = append(doubtful, d)
		}
		if d := strings.Trim(v, " \t"); d != v {
			doubtful = append(doubtful, d)
		}
	}
	for _, p := range f.params {
		if p.name == "boundary" {
			doubtful = append(doubtful, p.soft...)
		}
	}
	return certain, doubtful
}

// own adds the values that do not come from alts.
func (f *parsedField) own(name string, out *distinct) {
	var list []param
	for _, p := range f.params {
		if p.name == name {
			list = append(list, p)
		}
	}
	addValues(list, out)
}

// addValues adds the values of one parameter.
func addValues(list []param, out *distinct) {
	var joined []string
	var pieces []param
	add := func(v string) {
		if v != "" {
			out.add(v)
		}
	}
	for _, p := range list {
		switch {
		case p.section >= 0:
			pieces = append(pieces, p)
		case p.extended:
			joined = append(joined, decodeExtended(p.value))
		default:
			add(p.value)
			for _, v := range p.others {
				add(v)
			}
		}
	}
	for _, v := range joined {
		add(v)
	}
	for _, v := range joinPieces(pieces) {
		add(v)
	}
}

// distinct collects strings, each once.
type distinct struct {
	list  []string
	known map[string]bool // the list, once it is long
}

// fewStrings are compared one by one.
const fewStrings = 8

func (d *distinct) has(s string) bool {
	if d.known != nil {
		return d.known[s]
	}
	return slices.Contains(d.list, s)
}

func (d *distinct) add(s string) {
	if d.has(s) {
		return
	}
	d.list = append(d.list, s)
	switch {
	case d.known != nil:
		d.known[s] = true
	case len(d.list) > fewStrings:
		d.known = map[string]bool{}
		for _, v := range d.list {
			d.known[v] = true
		}
	}
}
