package disk

import (
	"bytes"
	"compress/bzip2"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const payload = "MZ RASTEL HARMLESS TEST PAYLOAD 5d1f8c72"

// letter is what the images have under a long name.
var letter = strings.Repeat("Dear reader, this is a letter.\n", 100)

// fixture reads an image of testdata/images.
func fixture(t testing.TB, name string) []byte {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", "images", name+".bz2"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(bzip2.NewReader(f))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestImagesOfRealTools(t *testing.T) {
	for name, notes := range map[string][]error{
		"rockridge.iso": nil, "joliet.iso": nil, "bridge.iso": nil,
		"hfsplus.iso": {ErrAmbiguous}, "hfs.iso": {ErrAmbiguous, ErrUnsupported},
		"fat12.img": nil, "fat16.img": nil, "fat32.img": nil,
		"dynamic.vhd": nil, "fixed.vhd": nil, "a.vhdx": nil, "sparse.vmdk": nil, "stream.vmdk": nil,
		"plain.qcow2": nil, "packed.qcow2": nil,
	} {
		t.Run(name, func(t *testing.T) {
			s := walkOf(t, fixture(t, name))
			s.want(t, "payload.exe", payload)
			s.want(t, "A letter with a long name.txt", letter)
			s.want(t, "folder/deeper/inner.txt", "inside")
			s.want(t, "folder/zzz.bin", strings.Repeat("z", 3000))
			s.wantNotes(t, notes...)
			if want := 4; len(notes) == 0 && len(s.files) != want {
				t.Errorf("got %d files, want %d:%s", len(s.files), want, s)
			}
		})
	}
}

func TestHFSPlus(t *testing.T) {
	img := fixture(t, "hfsplus.iso")
	vol := volume{bytes.NewReader(img), int64(len(img)), &walk{v: quiet{}, work: 1 << 30}}
	for _, p := range apm(vol) {
		if isHFSPlus(vol.part(p.off, p.n)) {
			s := walkOf(t, img[p.off:min(p.off+p.n, int64(len(img)))])
			s.want(t, "payload.exe", payload)
			s.want(t, "A letter with a long name.txt", letter)
			s.want(t, "folder/deeper/inner.txt", "inside")
			s.wantNotes(t)
			return
		}
	}
	t.Error("no partition with HFS+")
}

func TestNTFS(t *testing.T) {
	s := walkOf(t, fixture(t, "ntfs.img"))
	s.want(t, "payload.exe", payload)
	s.want(t, "A letter with a long name.txt", letter)
	s.want(t, "zzz.bin", strings.Repeat("z", 3000))
	s.want(t, "zzz.bin:stream.exe", payload)
	s.wantNotes(t)
	if len(s.files) != 4 {
		t.Errorf("got %d files, want 4:%s", len(s.files), s)
	}
}

func TestUDFAlone(t *testing.T) {
	b := fixture(t, "bridge.iso")
	for i := 16 * isoSector; string(b[i+1:i+6]) == "CD001"; i += isoSector {
		copy(b[i+1:], "BOOT2")
	}
	s := walkOf(t, b)
	s.want(t, "payload.exe", payload)
	s.want(t, "A letter with a long name.txt", letter)
	s.want(t, "folder/deeper/inner.txt", "inside")
	s.wantNotes(t)
	walkOf(t, fixture(t, "udf.img")).wantNotes(t) // nothing is in it
}

func TestYieldsBootImages(t *testing.T) {
	s := walkOf(t, fixture(t, "eltorito.iso"))
	s.want(t, "payload.exe", payload)
	s.want(t, "boot-1.img", strings.Repeat("B", 2048))
	s.wantNotes(t)
}

// The image begins with the first session, as genisoimage leaves it: Linux shows that one of a file,
// and the second of a disc.
func TestReadsAllSessions(t *testing.T) {
	s := walkOf(t, fixture(t, "sessions.iso"))
	s.want(t, "payload.exe", payload)
	s.want(t, "later.exe", "MZ later")
	s.wantNotes(t, ErrAmbiguous)
}

func TestReportsWhatIsNotOpened(t *testing.T) {
	part := func(off int, s string) []byte {
		b := make([]byte, 1<<20)
		copy(b[off:], s)
		return b
	}
	child := fixture(t, "dynamic.vhd")
	child[len(child)-512+63] = 4
	sumVHD(child[len(child)-512:])
	copy(child, child[len(child)-512:])
	childX := fixture(t, "a.vhdx")
	metadata := bytes.Index(childX, []byte("metadata"))
	at := metadata + int(binary.LittleEndian.Uint32(childX[bytes.Index(childX, []byte(vhdxFile))+16:]))
	childX[at+4] |= 2
	logX := fixture(t, "a.vhdx")
	copy(logX[64<<10+48:], strings.Repeat("g", 16))
	copy(logX[128<<10+48:], strings.Repeat("g", 16))
	secret := fixture(t, "plain.qcow2")
	secret[35] = 1
	backed := fixture(t, "plain.qcow2")
	backed[15] = 104
	toGo := fixture(t, "fat12.img")
	copy(toGo[424:], "\x3b\xd6\x67\x49\x29\x2e\xd8\x4a\x83\x99\xf6\xa3\x39\xe3\xd0\x01")
	for name, tt := range map[string]struct {
		img  []byte
		want error
	}{
		"BitLocker": {part(3, "-FVE-FS-"), ErrEncrypted}, "BitLocker To Go": {toGo, ErrEncrypted}, "LUKS": {part(0, "LUKS\xba\xbe"), ErrEncrypted},
		"encrypted DMG": {part(0, "encrcdsa"), ErrEncrypted}, "encrypted QCOW": {secret, ErrEncrypted},
		"differencing VHD": {child, ErrUnsupported}, "differencing VHDX": {childX, ErrUnsupported}, "VHDX with a log": {logX, ErrUnsupported},
		"QCOW with another": {backed, ErrUnsupported}, "ext": {fixture(t, "ext.img"), ErrUnsupported}, "APFS": {part(32, "NXSB"), ErrUnsupported},
		"ReFS": {part(3, "ReFS\x00"), ErrUnsupported}, "squashfs": {part(0, "hsqs"), ErrUnsupported}, "LVM": {part(512, "LABELONE"), ErrUnsupported},
		"nothing":                  {part(0, "nothing that is known"), ErrUnsupported},
		"BitLocker in a partition": {mbrOf(part(3, "-FVE-FS-")), ErrEncrypted}, "unknown in a partition": {mbrOf(part(0, "?")), ErrUnsupported},
	} {
		t.Run(name, func(t *testing.T) {
			s := walkOf(t, tt.img)
			s.wantNotes(t, tt.want)
			if len(s.files) > 0 {
				t.Errorf("got files%s", s)
			}
		})
	}
}

func sumVHD(footer []byte) {
	binary.BigEndian.PutUint32(footer[64:], 0)
	sum := uint32(0)
	for _, c := range footer {
		sum += uint32(c)
	}
	binary.BigEndian.PutUint32(footer[64:], ^sum)
}

// mbrOf is a disk with partitions one after the other, from sector 2 on.
func mbrOf(parts ...[]byte) []byte {
	b := make([]byte, 2*diskSector)
	b[510], b[511] = 0x55, 0xaa
	for i, p := range parts {
		e := b[446+16*i:]
		e[4] = 0x0c
		binary.LittleEndian.PutUint32(e[8:], uint32(len(b)/diskSector))
		binary.LittleEndian.PutUint32(e[12:], uint32(len(p)/diskSector))
		b = slices.Concat(b, p)
	}
	return b
}

// gptOf is the same with a GPT.
func gptOf(parts ...[]byte) []byte {
	b := make([]byte, 4*diskSector)
	b[510], b[511], b[446+4], b[446+8], b[446+12] = 0x55, 0xaa, 0xee, 1, 0xff
	h := b[diskSector:]
	copy(h, "EFI PART")
	binary.LittleEndian.PutUint64(h[72:], 2)
	binary.LittleEndian.PutUint32(h[80:], uint32(len(parts)))
	binary.LittleEndian.PutUint32(h[84:], 128)
	for i, p := range parts {
		e := b[2*diskSector+128*i:]
		copy(e, "some kind of it ")
		binary.LittleEndian.PutUint64(e[32:], uint64(len(b)/diskSector))
		b = slices.Concat(b, p)
		binary.LittleEndian.PutUint64(b[2*diskSector+128*i+40:], uint64(len(b)/diskSector-1))
	}
	return b
}

// chainOf is a disk with one extended partition, which has the partitions.
func chainOf(parts ...[]byte) []byte {
	b := make([]byte, diskSector)
	b[510], b[511], b[446+4], b[446+8] = 0x55, 0xaa, 0x05, 1
	binary.LittleEndian.PutUint32(b[446+12:], 1<<20)
	for i, p := range parts {
		table := make([]byte, diskSector)
		table[510], table[511], table[446+4] = 0x55, 0xaa, 0x0c
		binary.LittleEndian.PutUint32(table[446+8:], 1)
		binary.LittleEndian.PutUint32(table[446+12:], uint32(len(p)/diskSector))
		if i < len(parts)-1 {
			table[462+4] = 0x05
			binary.LittleEndian.PutUint32(table[462+8:], uint32((len(b)+len(p))/diskSector)) // counted from the first
			binary.LittleEndian.PutUint32(table[462+12:], 1)
		}
		b = slices.Concat(b, table, p)
	}
	return b
}

func TestReadsAllPartitions(t *testing.T) {
	fat, ntfs, empty := fixture(t, "fat12.img"), fixture(t, "ntfs.img"), make([]byte, 4096)
	for name, img := range map[string][]byte{
		"MBR": mbrOf(fat, empty, ntfs), "GPT": gptOf(fat, empty, ntfs), "extended": chainOf(fat, empty, ntfs),
		"backup of a GPT": func() []byte {
			b := gptOf(fat, empty, ntfs)
			h := bytes.Clone(b[diskSector : 2*diskSector])
			clear(b[:2*diskSector])
			return append(b, h...)
		}(),
	} {
		t.Run(name, func(t *testing.T) {
			s := walkOf(t, img)
			s.want(t, "folder/deeper/inner.txt", "inside")
			s.want(t, "zzz.bin:stream.exe", payload)
			s.wantNotes(t)
		})
	}
}

func TestLZNT1(t *testing.T) { // MS-XCA 3.3
	packed := "\x38\xb0\x88\x46\x23\x20\x00\x20\x47\x20\x41\x00\x10\xa2\x47\x01\xa0\x45\x20\x44\x00\x08\x45\x01\x50\x79\x00\xc0\x45\x20\x05\x24" +
		"\x13\x88\x05\xb4\x02\x4a\x44\xef\x03\x58\x02\x8c\x09\x16\x01\x48\x45\x00\xbe\x00\x9e\x00\x04\x01\x18\x90\x00"
	want := "F# F# G A A G F# E D D E F# F# E E F# F# G A A G F# E D D E F# E D D E E F# D E F# G F# D E F# G F# E D E A F# F# G A A G F# E D D E F# E D D\x00"
	got, err := lznt1([]byte(packed), 4096)
	if err != nil || string(got) != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

func TestADC(t *testing.T) {
	in := "\x84hello" + "\x10\x04" + "\x40\x00\x00" // five bytes, seven from five back, four of the last
	b, err := io.ReadAll(&adc{in: newByteReader(strings.NewReader(in))})
	if want := "hellohelloheeeee"; err != nil || string(b) != want {
		t.Errorf("got %q, %v, want %q", b, err, want)
	}
	if _, err := io.ReadAll(&adc{in: newByteReader(strings.NewReader("\x10\x04"))}); !errors.Is(err, ErrDamaged) {
		t.Errorf("got %v, want damage", err)
	}
}
