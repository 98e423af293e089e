package archive

import (
	"bytes"
	"context"

	"rastel/sanitize/eml"
	"rastel/scanners/archive/disk"
)

// Opens reports whether p may be an archive or have one in it: by its type, by the signatures
// that embedded looks for, whatever is behind them, and by those of images of disks.
func (e *Expander) Opens(p *eml.Part) bool {
	if formatOf(p.Type) != nil || p.Is("archive") || p.Is("image-of-disk") || p.Type == "data" || saysBrotli(p.Names, p.MediaType) {
		return true
	}
	o := newOpening(context.Background(), e.cfg, p, nil, nil)
	return disk.Disguised(o.src, p.Size) || o.hasSignature()
}

// hasSignature reports whether embedded would look closer at something; also if that cannot be
// known, because then it says so.
func (o *opening) hasSignature() bool {
	tail := make([]byte, min(o.p.Size, maxZipTail))
	if n, _ := o.src.ReadAt(tail, o.p.Size-int64(len(tail))); n < len(tail) || bytes.Contains(tail, []byte("PK\x05\x06")) {
		return true
	}
	if o.strict() {
		return false
	}
	found := false
	for _, e := range o.embeddable() {
		err := o.search(o.cfg.Search, e.sig, 0, func(int64, []byte) bool { found = true; return false })
		if found || err != nil {
			return true
		}
	}
	return false
}
