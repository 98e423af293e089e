package ole

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"

	"rastel/sanitize/eml"
	"rastel/scanners/office"
)

// projects is what is told of the macros of a file by their hashes.
type projects struct {
	sums []string // of each project
	not  bool     // something of a project was not read, or is not in its hash: there is none for the file
}

// hash takes the hash of a project: of all the streams in its storage, as they are, by the order of their names, each
// with its name and length in front. The source alone would not do: programs run what was compiled of it, or what is in
// their cache (MS-OVBA 2.2.6, 2.3.4.1), and nobody can tell whether that does what the source says.
func (f *file) hash(n *node) error {
	sum := sha256.New()
	list := slices.Clone(n.children)
	slices.SortFunc(list, func(a, b *node) int { return strings.Compare(strings.ToLower(a.name), strings.ToLower(b.name)) })
	before := "" // the name of the stream before, in lower case
	for _, c := range list {
		s, whole := f.c.section(c)
		name := strings.ToLower(c.name)
		if !whole || c.storage || name == before {
			f.projects.not = true
			return nil
		}
		before = name
		fmt.Fprintf(sum, "%d %s %d ", len(c.name), c.name, c.size)
		read, err := io.Copy(sum, f.read(s))
		if err != nil && isFatal(f.ctx, err) {
			return err
		}
		f.projects.not = f.projects.not || err != nil || read != c.size
	}
	if text := hex.EncodeToString(sum.Sum(nil)); !slices.Contains(f.projects.sums, text) {
		f.projects.sums = append(f.projects.sums, text)
	}
	return nil
}

// tellKnown reports the hashes of all projects in the file, or none: if anything in it was not examined, or may run and
// is in no project.
func (f *file) tellKnown() {
	if f.projects.not || len(f.findings)+len(f.projects.sums) > maxFindings || slices.ContainsFunc(f.findings, func(g eml.Finding) bool {
		return g.Unexamined || g.Check == office.XLM || g.Check == office.XLMAutorun || g.Check == office.DDE
	}) {
		return
	}
	for _, sum := range f.projects.sums {
		f.report(office.MacroHash, sum)
	}
}
