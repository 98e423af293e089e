package pdf

import (
	"slices"
)

// disguised are names by which who looks at the bytes of a file finds what it does, or how it hides it.
var disguised = []string{"JavaScript", "JS", "OpenAction", "AA", "Launch", "Action", "URI", "SubmitForm", "ImportData", "GoToR", "GoToE", "RichMedia",
	"EmbeddedFile", "EmbeddedFiles", "Filespec", "EF", "XFA", "AcroForm", "ObjStm", "Encrypt", "FlateDecode", "ASCIIHexDecode", "ASCII85Decode",
	"LZWDecode", "RunLengthDecode", "Names", "Type", "Filter", "Length", "Catalog", "Annot", "Annots", "Subtype", "Contents"}

// disguises notes names of an object that are written with # where nothing needs it: letters and digits,
// in a name that matters.
func (o *opening) disguises(e *entry, obj *object) error {
	c := o.d.file
	if e.has(inObjects) {
		c = o.d.texts
	}
	at := where(e, obj)
	for i := range obj.nodes {
		n := obj.nodes[i]
		if n.kind != kindName || !slices.Contains(disguised, string(obj.text[n.start:n.end])) {
			continue
		}
		raw := c.rawName(n.num)
		if len(raw) > 1+int(n.end-n.start) {
			o.saw(nameDisguise, e, at, string(raw), value{obj, int32(i)})
		}
	}
	return o.d.spend(c, c.off()) // the error of the cursor
}

// maxRaw is how long a name is that is known, with its slash and each character written with #.
const maxRaw = 1 + 3*16

// rawName is a name as it is written, with its slash.
func (c *cursor) rawName(off int64) []byte {
	c.seek(off)
	raw := make([]byte, 0, maxRaw)
	b, _ := c.next()
	return c.word(append(raw, b), maxRaw)
}
