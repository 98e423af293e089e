package archive

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"strings"
	"testing"

	"rastel/scanners/archive/lzx/lzxtest"
)

// A cabMaker makes cabinets.
type cabMaker struct {
	method   uint16
	reserve  int    // bytes in the header, in each folder and in each block
	flags    uint16 // besides that of the reserve
	folders  int    // that have all files; 0 is one
	utf8     bool
	first    uint16 // the folder of the first file, if not 0
	last     bool   // the last block continues in the next cabinet
	checksum uint32 // added to each
}

// blocks packs content.
func (m cabMaker) blocks(t testing.TB, content string) (packed [][]byte) {
	t.Helper()
	if m.method&0xf == cabLZX {
		e := lzxtest.Encoder{Window: int(m.method >> 8), Kind: lzxtest.Verbatim}
		return e.Stream([]byte(content))
	}
	var history string
	for len(content) > 0 {
		block := content[:min(len(content), cabBlock)]
		content = content[len(block):]
		b := []byte(block)
		if m.method == cabMSZip {
			var z bytes.Buffer
			w, err := flate.NewWriterDict(&z, 9, []byte(history))
			if err != nil {
				t.Fatal(err)
			}
			w.Write(b)
			w.Close()
			b = append([]byte("CK"), z.Bytes()...)
		}
		packed, history = append(packed, b), block
	}
	return packed
}

// of is a cabinet of files.
func (m cabMaker) of(t testing.TB, files ...file) []byte {
	le := binary.LittleEndian
	var list []byte
	var content strings.Builder
	for i, f := range files {
		list = le.AppendUint32(list, uint32(len(f.content)))
		list = le.AppendUint32(list, uint32(content.Len()))
		folder, attributes := uint16(max(m.folders, 1)-1), uint16(0x20)
		if i == 0 && m.first != 0 {
			folder = m.first
		}
		if m.utf8 {
			attributes |= cabNameUTF8
		}
		for _, v := range []uint16{folder, 0x21, 0, attributes} {
			list = le.AppendUint16(list, v)
		}
		list = append(append(list, f.name...), 0)
		content.WriteString(f.content)
	}
	packed := m.blocks(t, content.String())
	var data []byte
	for i, b := range packed {
		n := min(content.Len()-i*cabBlock, cabBlock)
		if m.last && i == len(packed)-1 {
			n = 0
		}
		head := le.AppendUint16(le.AppendUint16(nil, uint16(len(b))), uint16(n))
		data = le.AppendUint32(data, cabSum(head, cabSum(b, 0))+m.checksum)
		data = append(append(append(data, head...), make([]byte, m.reserve)...), b...)
	}
	optional := m.optional()
	folders := max(m.folders, 1)
	coffFiles := cabHeader + len(optional) + folders*(cabFolderEntry+m.reserve)
	flags := m.flags
	if m.reserve > 0 {
		flags |= cabHasReserve
	}
	b := []byte(cabMagic)
	for _, v := range []uint32{0, uint32(coffFiles + len(list) + len(data)), 0, uint32(coffFiles), 0} {
		b = le.AppendUint32(b, v)
	}
	for _, v := range []uint16{0x0103, uint16(folders), uint16(len(files)), flags, 1, 0} {
		b = le.AppendUint16(b, v)
	}
	b = append(b, optional...)
	for range folders {
		b = le.AppendUint32(b, uint32(coffFiles+len(list)))
		b = le.AppendUint16(le.AppendUint16(b, uint16(len(packed))), m.method)
		b = append(b, make([]byte, m.reserve)...)
	}
	return join(b, list, data)
}

func (m cabMaker) optional() (b []byte) {
	if m.reserve > 0 {
		b = append([]byte{byte(m.reserve), 0, byte(m.reserve), byte(m.reserve)}, make([]byte, m.reserve)...)
	}
	for _, flag := range []uint16{cabHasPrevious, cabHasNext} {
		if m.flags&flag != 0 {
			b = append(b, "other.cab\x00disk\x00"...)
		}
	}
	return b
}

// lzxMethod is LZX with a window of 1<<16 bytes.
const lzxMethod = cabLZX | 16<<8
