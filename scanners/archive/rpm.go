package archive

import (
	"bytes"
	"encoding/binary"
	"io"
)

const (
	rpmLead = 96
	// rpmHeaderMagic begins each of the two headers behind the lead.
	rpmHeaderMagic = "\x8e\xad\xe8\x01"
	// Limits of a header, which are those of rpm itself.
	maxRPMTags  = 64 << 10
	maxRPMStore = 256 << 20
)

// rpmScriptTags are those of scripts that are run when the package is installed or removed.
var rpmScriptTags = map[uint32]string{1023: "prein", 1024: "postin", 1025: "preun", 1026: "postun", 1151: "pretrans", 1152: "posttrans", 1171: "preuntrans", 1172: "postuntrans"}

// openRPM yields the scripts of a package of RPM and its payload, a cpio archive that is mostly
// compressed (RPM V3 and V4 package format).
func openRPM(o *opening) error {
	signature, err := o.rpmHeader(rpmLead)
	if err != nil {
		return o.failed(o.p, err)
	}
	main, err := o.rpmHeader((signature.end + 7) / 8 * 8)
	if err != nil {
		return o.failed(o.p, err)
	}
	if err := o.rpmScripts(main); err != nil {
		return err
	}
	var names nameSet
	for _, n := range o.p.Names {
		names.add(n + ".cpio")
	}
	_, err = o.member(names, o.input(main.end, o.p.Size-main.end))
	return err
}

// An rpmHeader is where the parts of a header are.
type rpmHeader struct {
	index           []byte // 16 bytes a tag
	data, size, end int64  // what the tags have for values
}

func (o *opening) rpmHeader(off int64) (*rpmHeader, error) {
	b, err := o.bytesAt(off, 16)
	if err != nil {
		return nil, err
	}
	tags, size := int64(binary.BigEndian.Uint32(b[8:])), int64(binary.BigEndian.Uint32(b[12:]))
	if string(b[:4]) != rpmHeaderMagic || tags > maxRPMTags || size > maxRPMStore {
		return nil, errCorrupt
	}
	h := &rpmHeader{data: off + 16 + 16*tags, size: size}
	if h.end = h.data + size; h.end > o.p.Size {
		return nil, io.ErrUnexpectedEOF
	}
	h.index, err = o.bytesAt(off+16, int(16*tags))
	return h, err
}

// rpmScripts yields the scripts of a header, each once.
func (o *opening) rpmScripts(h *rpmHeader) error {
	seen := map[string]bool{}
	for index := h.index; len(index) > 0; index = index[16:] {
		name := rpmScriptTags[binary.BigEndian.Uint32(index)]
		at := int64(binary.BigEndian.Uint32(index[8:]))
		if name == "" || seen[name] || at >= h.size {
			continue
		}
		seen[name] = true
		if _, err := o.member([]string{name + ".sh"}, &untilZero{r: o.input(h.data+at, h.size-at)}); err != nil {
			return err
		}
	}
	return nil
}

// untilZero reads up to the first NUL.
type untilZero struct {
	r    io.Reader
	done bool
}

func (u *untilZero) Read(p []byte) (int, error) {
	if u.done {
		return 0, io.EOF
	}
	n, err := u.r.Read(p)
	if i := bytes.IndexByte(p[:n], 0); i >= 0 {
		u.done = true
		return i, nil
	}
	return n, err
}
