package onenote

import (
	"encoding/binary"
	"io"
	"slices"
	"strings"
	"unicode/utf16"
)

const (
	// maxNames is how many names each file gets.
	maxNames = 16
	// maxAllNames is how many names of a notebook are looked at.
	maxAllNames = 10_000
	// maxName is how many bytes a name has at most: Windows has paths of 32 767 characters.
	maxName = 64 << 10
	// maxProperties is how many properties of one object are gone back over to find its first.
	maxProperties = 64
)

// The types of properties that have data, in bits 26 to 30 of what names them (MS-ONESTORE 2.6.6).
const (
	typeNone    = 0x1
	typeBool    = 0x2
	typeByte    = 0x3
	typeEight   = 0x6 // from typeByte on: 1, 2, 4, 8 bytes
	typeBytes   = 0x7
	typeObject  = 0x8 // from here to typeContexts what is counted, if it is, is kept elsewhere
	typeObjects = 0x9
	typeContext = 0xd
)

// name adds the name that is the value of the property that is told of there. Its object begins with
// their number and what names them, in an array, and behind that come their values.
func (n *notebook) name(at int64) error {
	for before := range int64(maxProperties) {
		array := at - 4*before
		var b [2]byte
		if array < 2 {
			return nil
		}
		if _, err := n.src.ReadAt(b[:], array-2); err != nil {
			return err
		}
		count := int64(binary.LittleEndian.Uint16(b[:]))
		if count <= before || count > maxProperties*4 {
			continue
		}
		if name, ok := n.value(array, array+4*count, before); ok {
			n.add(name)
			return nil
		}
	}
	return nil
}

// value reads the value of a property as text: that of number i in the array, whose values begin at
// the given offset. It reports whether it is text, and all before it has values that make sense.
func (n *notebook) value(array, at, i int64) (string, bool) {
	ids := make([]byte, 4*(i+1))
	if _, err := n.src.ReadAt(ids, array); err != nil {
		return "", false
	}
	for ; len(ids) > 4; ids = ids[4:] {
		size, ok := n.size(binary.LittleEndian.Uint32(ids)>>26&0x1f, at)
		if !ok {
			return "", false
		}
		at += size
	}
	var b [4]byte
	if _, err := n.src.ReadAt(b[:], at); err != nil {
		return "", false
	}
	size := int64(binary.LittleEndian.Uint32(b[:]))
	if size == 0 || size > maxName || size%2 != 0 || size > n.src.Size()-at-4 {
		return "", false
	}
	text := make([]byte, size)
	if _, err := n.src.ReadAt(text, at+4); err != nil && err != io.EOF {
		return "", false
	}
	return decode(text)
}

// size is how many bytes a value of that type takes.
func (n *notebook) size(kind uint32, at int64) (int64, bool) {
	switch {
	case kind == typeNone, kind == typeBool:
		return 0, true
	case kind >= typeByte && kind <= typeEight:
		return 1 << (kind - typeByte), true
	case kind == typeBytes:
		var b [4]byte
		if _, err := n.src.ReadAt(b[:], at); err != nil {
			return 0, false
		}
		return 4 + int64(binary.LittleEndian.Uint32(b[:])), true
	case kind >= typeObject && kind <= typeContext:
		if kind&1 == typeObjects&1 { // an array, whose length is here
			return 4, true
		}
		return 0, true
	}
	return 0, false // objects within objects, which those with names do not have before them
}

// decode gives text in UTF-16 without the zero at its end. Control characters are none of a name.
func decode(text []byte) (string, bool) {
	var units []uint16
	for ; len(text) >= 2; text = text[2:] {
		units = append(units, binary.LittleEndian.Uint16(text))
	}
	name := strings.TrimRight(string(utf16.Decode(units)), "\x00")
	return name, name != "" && !strings.ContainsFunc(name, func(r rune) bool { return r == 0 || r == utf16Bad })
}

const utf16Bad = '\ufffd'

func (n *notebook) add(name string) {
	if len(n.names) < maxAllNames && !slices.Contains(n.names[max(len(n.names)-maxNames, 0):], name) {
		n.names = append(n.names, name)
	}
}
