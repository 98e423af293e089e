package scanners

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"

	"rastel/sanitize/eml"
)

// Apple opens the containers in which files of the Macintosh travel with both of their forks:
// AppleSingle and AppleDouble (RFC 1740), told by their first bytes, and MacBinary, told by its
// checksum or its label.
type Apple struct{}

// Checks are all checks that Expand may report.
func (Apple) Checks() []eml.Check { return []eml.Check{damagedCheck} }

// Scan finds nothing: all that is to be said is said by Expand.
func (Apple) Scan(context.Context, *eml.Part) ([]eml.Finding, error) { return nil, nil }

// Expand yields the forks of the file in p.
func (Apple) Expand(ctx context.Context, p *eml.Part, b *Budget, yield func(*eml.Part) error) ([]eml.Finding, error) {
	h := &hidden{ctx: ctx, p: p, b: b, yield: yield}
	var err error
	switch {
	case p.Type == "applesingle" || p.Type == "appledouble":
		err = h.appleFile()
	case isMacBinary(p):
		err = h.macBinary()
	case p.MediaType == "application/applefile" && p.Size > 0:
		h.report(hiddenDamaged, "labelled AppleSingle or AppleDouble, and is neither")
	}
	return h.findings, err
}

// Entries of AppleSingle and AppleDouble (RFC 1740 appendix A).
const (
	appleData     = 1
	appleResource = 2
	appleName     = 3

	appleHeader = 4 + 4 + 16 + 2
	appleEntry  = 4 + 4 + 4
	// maxAppleEntries is how many entries are looked at; there are fewer than twenty kinds.
	maxAppleEntries = 256
)

func (h *hidden) appleFile() error {
	head := h.p.Head(appleHeader + maxAppleEntries*appleEntry)
	if len(head) < appleHeader {
		h.report(hiddenDamaged, "the header of "+h.p.Type+" ends too soon")
		return nil
	}
	count := int(binary.BigEndian.Uint16(head[appleHeader-2:]))
	entries := head[appleHeader:]
	if count > len(entries)/appleEntry {
		h.report(hiddenDamaged, fmt.Sprintf("%s of %d entries", h.p.Type, count))
		count = len(entries) / appleEntry
	}
	names, seen := h.appleNames(entries, count), 0
	for i := range count {
		id, content := h.appleEntry(entries[i*appleEntry:])
		if id != appleData && id != appleResource || content.Size() == 0 {
			continue
		}
		seen++
		if err := h.member(names, content); err != nil {
			return err
		}
	}
	if seen == 0 && len(names) > 0 { // for its name
		return h.member(names, io.NewSectionReader(h.p.Content(), 0, 0))
	}
	return nil
}

// appleEntry is the content of an entry, as much as there is.
func (h *hidden) appleEntry(entry []byte) (id uint32, content *io.SectionReader) {
	id = binary.BigEndian.Uint32(entry)
	off, n := int64(binary.BigEndian.Uint32(entry[4:])), int64(binary.BigEndian.Uint32(entry[8:]))
	if off+n > h.p.Size {
		h.report(hiddenDamaged, fmt.Sprintf("%s with an entry behind its end", h.p.Type))
		off = min(off, h.p.Size)
		n = h.p.Size - off
	}
	return id, io.NewSectionReader(h.p.Content(), off, n)
}

// appleNames are the names that the file had, or that of the part if it says none.
func (h *hidden) appleNames(entries []byte, count int) (names nameList) {
	for i := range count {
		id, content := h.appleEntry(entries[i*appleEntry:])
		if id != appleName {
			continue
		}
		b := make([]byte, min(content.Size(), maxHiddenName))
		n, _ := content.ReadAt(b, content.Size()-int64(len(b)))
		names.addStopped(string(b[:n]))
	}
	if len(names) == 0 {
		names = h.p.Names
	}
	return names
}

const (
	macHeader  = 128 // the size of the header of MacBinary, and what the forks are filled up to
	macBinary2 = 129 // the version of MacBinary II
)

// isMacBinary tells MacBinary II and III by the checksum of their header, and MacBinary I, which
// has none, by its label.
func isMacBinary(p *eml.Part) bool {
	b := p.Head(macHeader)
	if len(b) < macHeader || b[0] != 0 || b[1] == 0 || b[1] > 63 || b[74] != 0 {
		return false
	}
	switch p.MediaType {
	case "application/macbinary", "application/x-macbinary", "application/mac-binary":
		return true
	}
	return b[122] >= macBinary2 && binary.BigEndian.Uint16(b[124:]) == crc16(0, b[:124])
}

func (h *hidden) macBinary() error {
	b := h.p.Head(macHeader)
	var names nameList
	names.add(string(b[2 : 2+b[1]]))
	off := macHeader + roundUp(int64(binary.BigEndian.Uint16(b[120:])), macHeader) // the second header of MacBinary II
	data, resource := int64(binary.BigEndian.Uint32(b[83:])), int64(binary.BigEndian.Uint32(b[87:]))
	for i, size := range [2]int64{data, resource} {
		if size == 0 && (i == 1 || resource > 0) {
			continue
		}
		if off+size > h.p.Size {
			h.report(hiddenDamaged, "MacBinary with a fork behind its end")
			off = min(off, h.p.Size)
			size = min(size, h.p.Size-off)
		}
		if err := h.member(names, io.NewSectionReader(h.p.Content(), off, size)); err != nil {
			return err
		}
		off = roundUp(off+size, macHeader)
	}
	return nil
}

func roundUp(n, to int64) int64 { return (n + to - 1) / to * to }
