package sanitize

import (
	"slices"
	"strings"

	"rastel/sanitize/eml"
)

// A Renaming is a part that got another name, as the notice about it tells.
type Renaming struct {
	Part    *eml.Part
	Mangled bool   // by Mangle; otherwise by Rename
	Reason  string // why, for people
}

// Limits of what the notice about renamed parts lists.
const (
	maxRenamedFiles = 10
	maxRenamedNames = 3 // of one part
)

// renamedData are the fields that the text of the notice about renamed parts can use. All of them can
// be shown as they are.
type renamedData struct {
	Files   []renamedFile // at most maxRenamedFiles
	More    int           // how many more there are
	Item    string        // of the quarantine; empty if the original is not kept
	Contact string        // whom to ask, as configured; may be empty
}

// A renamedFile is a part that got another name.
type renamedFile struct {
	Names  []string // it had, at most maxRenamedNames; none if it had none
	New    string
	Reason []string // lines
}

// renamedTexts are those of the notice about renamed parts, one for each language; none if all have the
// names that they had, so that there is nothing to tell. The last is the English one in ASCII.
func (n *Notices) renamedTexts(b *Banner) (texts []string, plain string, err error) {
	d := renamedData{Item: b.Item, Contact: n.contact}
	for _, r := range b.Renamed {
		name := SafeName(r.Part.Names)
		if r.Mangled {
			name = MangledName(r.Part.Names)
		}
		switch {
		case slices.Contains(r.Part.Names, name):
		case len(d.Files) == maxRenamedFiles:
			d.More++
		default:
			d.Files = append(d.Files, renamedFile{oldNames(r.Part), onOneLine(name), reasonLines(r.Reason)})
		}
	}
	if len(d.Files) == 0 {
		return nil, "", nil
	}
	for _, tag := range n.in(b.Languages) {
		text, err := n.languages[tag].execute(renamedText, d)
		if err != nil {
			return nil, "", err
		}
		texts = append(texts, trimmed(text))
	}
	text, err := n.languages[defaultLanguage].execute(renamedText, d)
	return texts, asASCII(trimmed(text)), err
}

func oldNames(p *eml.Part) []string {
	var out []string
	for _, name := range p.Names[:min(len(p.Names), maxRenamedNames)] {
		out = append(out, onOneLine(name))
	}
	return out
}

// hardBlank stands for a blank at which no line is broken. No name holds it when it is shown.
const hardBlank = '\u2800'

// onOneLine gives what a sender wrote as shown does, and so that no line begins with it or within it:
// that one could be the boundary of a part, or the beginning of a file in uuencode.
func onOneLine(s string) string {
	return string(hardBlank) + strings.Join(strings.Fields(shown(s)), string(hardBlank))
}
