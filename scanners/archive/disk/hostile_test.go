package disk

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"
)

func TestYieldsTheFilesOfAllTrees(t *testing.T) {
	i := newISO()
	both, plain, joliet := i.put("in both"), i.put("in one"), i.put(payload)
	i.dir(20, false, isoItem{"README.TXT;1", both, 7, 0, ""}, isoItem{"PLAIN.;1", plain, 6, 0, ""})
	i.dir(22, true, isoItem{"Read me.txt;1", both, 7, 0, ""}, isoItem{"payload.exe;1", joliet, uint32(len(payload)), 0, ""})
	s := walkOf(t, i.b)
	s.want(t, "README.TXT", "in both")
	s.want(t, "Read me.txt", "in both")
	s.want(t, "PLAIN", "in one")
	s.want(t, "payload.exe", payload)
	s.wantNotes(t, ErrAmbiguous)
	if len(s.files) != 3 {
		t.Errorf("want 3 files:%s", s)
	}
}

func TestISOOddities(t *testing.T) {
	i := newISO()
	a, b := i.put(strings.Repeat("a", isoSector)), i.put("b")
	items := []isoItem{
		{"MULTI.BIN;1", a, isoSector, isoMulti, ""}, {"MULTI.BIN;1", b, 1, 0, ""},
		{"LINK.;1", a, 1, 0, "SL\x05\x01\x00"},
		{"BEYOND.EXE;1", 1 << 20, 5, 0, ""}, {"LONGER.EXE;1", b, 1 << 30, 0, ""},
	}
	i.dir(20, false, append([]isoItem{{"\x00", 20, isoSector, isoDir, "SP\x07\x01\xbe\xef\x00"}}, items...)...)
	copy(i.b[20*isoSector:], isoItem{"\x00", 20, isoSector, isoDir, "SP\x07\x01\xbe\xef\x00"}.bytes(false))
	copy(i.b[17*isoSector:], "\xff") // one tree
	fixDir(i, items)
	s := walkOf(t, i.b)
	s.want(t, "MULTI.BIN", strings.Repeat("a", isoSector)+"b")
	for _, name := range []string{"BEYOND.EXE", "LONGER.EXE"} {
		if f := s.find(name); f == nil || !errors.Is(f.err, ErrDamaged) {
			t.Errorf("%s: want it damaged:%s", name, s)
		}
	}
	if f := s.find("LINK."); f == nil || !f.link {
		t.Errorf("want a link:%s", s)
	}
	s.wantNotes(t)
}

// fixDir writes the root anew with SUSP in its first record.
func fixDir(i *isoBuilder, items []isoItem) {
	var d []byte
	for _, r := range append([]isoItem{{"\x00", 20, isoSector, isoDir, "SP\x07\x01\xbe\xef\x00"}, {"\x01", 20, isoSector, isoDir, ""}}, items...) {
		d = append(d, r.bytes(false)...)
	}
	copy(i.b[20*isoSector:21*isoSector], append(d, make([]byte, isoSector-len(d))...))
}

func TestDirectoriesInACircle(t *testing.T) {
	i := newISO()
	i.dir(20, false, isoItem{"A", 20, isoSector, isoDir, ""}, isoItem{"B", 22, isoSector, isoDir, ""})
	u := newUDF(false)
	u.add("self", 2, 1)
	f := fixture(t, "fat12.img")
	at := bytes.Index(f, []byte("FOLDER     \x10"))
	f[at+26] = 0 // the root of FAT12 has no cluster
	f2 := fixture(t, "fat12.img")
	inner := bytes.Index(f2, []byte("DEEPER     \x10"))
	copy(f2[inner+26:inner+28], f2[at+26:at+28]) // it is in itself
	for name, img := range map[string][]byte{"ISO": i.b, "UDF": u.bytes(), "FAT": f2} {
		s := walkOf(t, img)
		if s.dirs > 10 {
			t.Errorf("%s: got %d directories", name, s.dirs)
		}
		if name != "ISO" {
			s.wantNotes(t, ErrAmbiguous)
		}
	}
	walkOf(t, f).wantNotes(t, ErrDamaged)
}

func TestUDF(t *testing.T) {
	for _, meta := range []bool{false, true} {
		u := newUDF(meta)
		u.file("payload.exe", payload, 3)
		u.file("letter.txt", letter, 4)
		u.entry(u.block(5), udfFile, 5, 5, "inner", 3)
		u.add("inline.txt", 0, 5)
		u.add("gone.txt", 4, 6)
		s := walkOf(t, u.bytes())
		s.want(t, "payload.exe", payload)
		s.want(t, "letter.txt", letter)
		s.want(t, "inline.txt", "inner")
		s.wantNotes(t)
		if len(s.files) != 3 {
			t.Errorf("want 3 files:%s", s)
		}
	}
}

func TestUDFOddities(t *testing.T) {
	u := newUDF(false)
	u.entry(u.block(3), udfFile, 5, 1<<40, strings.Repeat(udfShort(1<<30-512|2<<30, 0), 40), 0)
	u.add("sparse.bin", 0, 3)
	u.entry(u.block(4), udfFile, 5, 512, udfShort(512|3<<30, 4), 0) // continued by itself, which is no such area
	u.add("circle.bin", 0, 4)
	u.add("nothing.bin", 0, 50)
	u.add("far.bin", 0, 1<<30)
	area := make([]byte, 512)
	le.PutUint32(area[20:], 8)
	copy(area[24:], udfShort(512|3<<30, 7))
	u.at(u.block(7), udfAllocExt, area)
	u.entry(u.block(6), udfFile, 5, 512, udfShort(512|3<<30, 7), 0)
	u.add("endless.bin", 0, 6)
	s := walkOf(t, u.bytes())
	for _, name := range []string{"circle.bin", "nothing.bin", "far.bin", "endless.bin"} {
		if f := s.find(name); f == nil || !errors.Is(f.err, ErrDamaged) {
			t.Errorf("%s: want it damaged:%s", name, s)
		}
	}
	if f := s.find("sparse.bin"); f == nil || f.size < 40<<29 {
		t.Errorf("sparse.bin: want its size told:%s", s)
	}
}

func TestExFAT(t *testing.T) {
	img := exfatWith(t, seenFile{names: []string{"payload.exe"}, head: payload, size: int64(len(payload))},
		seenFile{names: []string{"A letter whose name is long.txt"}, head: letter + letter, size: int64(2 * len(letter)), link: true},
		seenFile{names: []string{"partly written.bin"}, head: "abc", size: 10})
	s := walkOf(t, img)
	s.want(t, "payload.exe", payload)
	s.want(t, "A letter whose name is long.txt", letter+letter)
	s.want(t, "partly written.bin", "abc"+strings.Repeat("\x00", 7))
	s.wantNotes(t)
}

func TestDMG(t *testing.T) {
	s := walkOf(t, dmgOf(fixture(t, "fat12.img")))
	s.want(t, "payload.exe", payload)
	s.want(t, "A letter with a long name.txt", letter)
	s.want(t, "folder/zzz.bin", strings.Repeat("z", 3000))
	s.wantNotes(t)
}

func TestRawCD(t *testing.T) {
	s := walkOf(t, rawCDOf(fixture(t, "joliet.iso")))
	s.want(t, "payload.exe", payload)
	s.want(t, "folder/deeper/inner.txt", "inside")
	s.wantNotes(t)
}

func TestFATOddities(t *testing.T) {
	img := fixture(t, "fat12.img")
	root := bytes.Index(img, []byte("PAYLOAD EXE"))
	end := root
	for img[end] != 0 {
		end += 32
	}
	entry := bytes.Clone(img[root : root+32])
	copy(entry, "HIDDEN  EXE")
	copy(img[end+32:], entry)                                                                // behind the end
	copy(img[end+64:], "\x01garbage with what an entry has no room for\xff\xff\xff\xff\xff") // not an entry
	loop := bytes.Clone(entry)
	copy(loop, "LOOP    BIN")
	le.PutUint32(loop[28:], 1<<31)
	copy(img[end+128:], loop) // larger than the disk: garbage too
	s := walkOf(t, img)
	s.want(t, "hidden.exe", payload)
	s.want(t, "payload.exe", payload)
	s.wantNotes(t, ErrAmbiguous)
	if s.find("loop.bin") != nil {
		t.Errorf("garbage became a file:%s", s)
	}

	img = fixture(t, "fat12.img")
	le.PutUint32(img[root+28:], 1<<31)
	if f := walkOf(t, img).find("payload.exe"); f == nil || !errors.Is(f.err, ErrDamaged) || f.size != 512 {
		t.Errorf("a file longer than its chain: got %+v", f)
	}
	c := int(le.Uint16(img[root+26:]))
	at := diskSector + c*3/2
	v := le.Uint16(img[at:])
	if c%2 == 1 {
		v = v&15 | uint16(c)<<4
	} else {
		v = v&0xf000 | uint16(c)
	}
	le.PutUint16(img[at:], v) // a chain of itself
	if f := walkOf(t, img).find("payload.exe"); f == nil || !errors.Is(f.err, ErrDamaged) {
		t.Errorf("a chain in a circle: got %+v", f)
	}
}

// ntfsRecordOf is the record of the file whose name begins so.
func ntfsRecordOf(img []byte, name string) []byte {
	var u []byte
	for _, c := range utf16.Encode([]rune(name)) {
		u = le.AppendUint16(u, c)
	}
	at := bytes.Index(img, u)
	for at%1024 != 0 || string(img[at:at+4]) != "FILE" {
		at--
	}
	return img[at : at+1024]
}

// ntfsDataOf is the attribute of a record that is its content.
func ntfsDataOf(r []byte) []byte {
	at := int(le.Uint16(r[20:]))
	for le.Uint32(r[at:]) != ntfsData {
		at += int(le.Uint32(r[at+4:]))
	}
	return r[at:]
}

// A unit of 16 clusters, of which one is there, with what MS-XCA 2.5 makes of 3000 times a letter.
func TestNTFSPacked(t *testing.T) {
	img := fixture(t, "ntfs.img")
	a := ntfsDataOf(ntfsRecordOf(img, "zzz.bin"))
	runs := a[le.Uint16(a[32:]):]
	if runs[0] != 0x21 || runs[1] != 3 {
		t.Fatalf("runs % x are not what the test knows", runs[:8])
	}
	a[12], a[34] = 1, 4
	runs[1] = 1
	copy(runs[4:], "\x01\x0f\x00")
	at := int(le.Uint16(runs[2:])) * 1024
	clear(img[at : at+1024])
	copy(img[at:], "\x03\xb0\x02z\xb4\x0b\x00\x00")
	s := walkOf(t, img)
	s.want(t, "zzz.bin", strings.Repeat("z", 3000))
	s.wantNotes(t)
	img[at+5] = 0xff // a copy from before the beginning
	if f := walkOf(t, img).find("zzz.bin"); f == nil || !errors.Is(f.err, ErrDamaged) {
		t.Errorf("damaged: got %+v", f)
	}
}

func TestNTFSOddities(t *testing.T) {
	img := fixture(t, "ntfs.img")
	a := ntfsDataOf(ntfsRecordOf(img, "A letter with"))
	le.PutUint16(a[12:], 0x8000)
	le.PutUint64(a[48:], 1<<42)
	le.PutUint64(a[56:], 0)
	b := ntfsDataOf(ntfsRecordOf(img, "zzz.bin"))
	le.PutUint16(b[12:], 0x4000)
	s := walkOf(t, img)
	if f := s.find("A letter with a long name.txt"); f == nil || f.size != 1<<42 {
		t.Errorf("a sparse file of terabytes: got %+v", f)
	}
	if f := s.find("zzz.bin"); f == nil || !errors.Is(f.err, ErrEncrypted) {
		t.Errorf("an encrypted file: got %+v", f)
	}
	s.want(t, "payload.exe", payload)
}

// Linux passes over sectors in which there is no descriptor.
func TestReadsDescriptorsBehindOthers(t *testing.T) {
	img := fixture(t, "joliet.iso")
	first := bytes.Clone(img)
	clear(first[16*isoSector : 17*isoSector]) // Joliet is left
	walkOf(t, first).want(t, "payload.exe", payload)
	pvd := bytes.Clone(img[16*isoSector : 17*isoSector])
	far := slices.Concat(img, make([]byte, 200*isoSector))
	clear(far[16*isoSector : 19*isoSector])
	copy(far[60*isoSector:], pvd)
	walkOf(t, far).want(t, "payload.exe", payload)
}

// Windows finds directories by the table of them.
func TestReadsTheTableOfDirectories(t *testing.T) {
	i := newISO()
	p, l := i.put(payload), i.put("letter")
	shown, other := i.put(string(make([]byte, isoSector))), i.put(string(make([]byte, isoSector)))
	i.dir(shown, false, isoItem{"LETTER.TXT", l, 6, 0, ""})
	i.dir(other, false, isoItem{"PAYLOAD.EXE", p, uint32(len(payload)), 0, ""})
	i.dir(20, false, isoItem{"FOLDER", shown, isoSector, isoDir, ""})
	i.b[17*isoSector] = 255
	table := []byte{1, 0, 20, 0, 0, 0, 1, 0, 0, 0, 6, 0, byte(other), 0, 0, 0, 1, 0, 'F', 'O', 'L', 'D', 'E', 'R'}
	le.PutUint32(i.b[16*isoSector+132:], uint32(len(table)))
	le.PutUint32(i.b[16*isoSector+140:], i.put(string(table)))
	s := walkOf(t, i.b)
	s.want(t, "FOLDER/LETTER.TXT", "letter")
	s.want(t, "FOLDER/PAYLOAD.EXE", payload)
	s.wantNotes(t, ErrAmbiguous)
}

// Windows shows the names that are in the index of a directory.
func TestReadsTheIndexOfNTFS(t *testing.T) {
	img := fixture(t, "ntfs.img")
	var was, name []byte
	for _, c := range utf16.Encode([]rune("A letter")) {
		was = le.AppendUint16(was, c)
	}
	for _, c := range utf16.Encode([]rune("B  .exe ")) {
		name = le.AppendUint16(name, c)
	}
	changed := 0
	for at := 0; ; {
		k := bytes.Index(img[at:], was)
		if k < 0 {
			break
		}
		at += k
		record := at &^ 1023
		if string(img[record:record+4]) != "FILE" {
			copy(img[at:], name)
			changed++
		}
		at += len(was)
	}
	s := walkOf(t, img)
	s.want(t, "A letter with a long name.txt", letter)
	s.want(t, "B  .exe  with a long name.txt", letter)
	s.wantNotes(t, ErrAmbiguous)
	if changed != 1 {
		t.Errorf("changed %d entries", changed)
	}
}

func TestFootersOfVHD(t *testing.T) {
	img := fixture(t, "dynamic.vhd")
	img[63] = 2
	sumVHD(img[:512])
	s := walkOf(t, img)
	s.want(t, "payload.exe", payload)
	s.wantNotes(t, ErrAmbiguous)
}

func TestMillionEntries(t *testing.T) {
	i := newISO()
	one := i.put("one")
	var d []byte
	for n := range 1_000_000 {
		rec := isoItem{fmt.Sprintf("%07d", n), one, 3, 0, ""}.bytes(false)
		if room := isoSector - len(d)%isoSector; len(rec) > room {
			d = append(d, make([]byte, room)...)
		}
		d = append(d, rec...)
	}
	lba := i.put(string(d))
	i.b[17*isoSector] = 255
	le.PutUint32(i.b[16*isoSector+158:], lba)
	le.PutUint32(i.b[16*isoSector+166:], uint32(len(d)))
	s := &seen{max: 10_000}
	if err := Walk(bytes.NewReader(i.b), int64(len(i.b)), s); err != nil && !errors.Is(err, errEnough) {
		t.Fatal(err)
	}
	if len(s.files) != 10_001 {
		t.Errorf("got %d files, want it to go on until it is told to end", len(s.files))
	}
}

func TestOverlappingDirectories(t *testing.T) {
	i := newISO()
	var items []isoItem
	for n := range uint32(40) {
		items = append(items, isoItem{string(rune('A'+n%26)) + string(rune('A'+n/26)), 24 + n, 1 << 31, isoDir, ""})
	}
	for range 16 << 20 / isoSector {
		i.put("")
		i.b = append(i.b, isoDirOf(20, false, items...)...)
	}
	i.dir(20, false, items...)
	s := &seen{max: 10_000}
	if err := Walk(bytes.NewReader(i.b), int64(len(i.b)), s); !errors.Is(err, errEnough) {
		t.Errorf("got %v, want it to go on until it is told to end:%s", err, s)
	}
}

// The same without a visitor that ends it: the work is bounded by the size of the image.
func TestWorkIsBounded(t *testing.T) {
	i := newISO()
	var items []isoItem
	for n := range uint32(30) {
		items = append(items, isoItem{fmt.Sprint(n), 24 + n, 1 << 31, isoDir, ""})
	}
	for n := range uint32(4 << 20 / isoSector) {
		for k := range items {
			items[k].lba = 24 + (30*n+uint32(k))%2000
		}
		i.b = append(i.b, isoDirOf(20, false, items...)...)
	}
	i.dir(20, false, items...)
	s := &seen{}
	if err := Walk(bytes.NewReader(i.b), int64(len(i.b)), s); err != nil {
		t.Fatal(err)
	}
	if most := (workFree + workTimes*len(i.b)) / recordCost; s.dirs > most {
		t.Errorf("got %d directories, want %d at most", s.dirs, most)
	}
}

// Every image, cut anywhere: no panic, and what is missing is told.
func TestCutImages(t *testing.T) {
	for _, name := range []string{"joliet.iso", "bridge.iso", "fat12.img", "ntfs.img", "dynamic.vhd", "a.vhdx", "stream.vmdk", "packed.qcow2", "hfsplus.iso"} {
		whole := fixture(t, name)
		full := len(walkOf(t, whole).files)
		for n := range 24 {
			img := whole[:len(whole)*n/24]
			s := walkOf(t, img)
			bad := len(s.notes)
			for _, f := range s.files {
				if f.err != nil {
					bad++
				}
			}
			if bad == 0 && len(s.files) < full {
				t.Errorf("%s, cut at %d of 24: silent:%s", name, n, s)
			}
		}
	}
}
