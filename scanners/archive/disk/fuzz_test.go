package disk

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"sort"
	"testing"
	"time"
)

// A layout is where in an image there is something: fuzzing changes that, and leaves the zeros.
type layout struct {
	size   int
	blocks []int // of fuzzBlock bytes
}

const fuzzBlock = 128

// pack takes the blocks of an image that are not zero.
func pack(img []byte) (l layout, body []byte) {
	l.size = len(img)
	for at := 0; at < len(img); at += fuzzBlock {
		b := img[at:min(at+fuzzBlock, len(img))]
		if len(bytes.Trim(b, "\x00")) > 0 {
			l.blocks = append(l.blocks, at)
			body = append(body, b...)
		}
	}
	return l, body
}

// A fuzzed is the image that a layout and a body make; it reads the zeros without having them.
type fuzzed struct {
	layout
	body []byte
}

func (f fuzzed) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= int64(f.size) {
		return 0, io.EOF
	}
	n := min(len(p), f.size-int(off))
	clear(p[:n])
	end := int(off) + n
	for i := sort.SearchInts(f.blocks, int(off)-fuzzBlock+1); i < len(f.blocks) && f.blocks[i] < end; i++ {
		b := f.body[min(i*fuzzBlock, len(f.body)):min((i+1)*fuzzBlock, len(f.body))]
		if at := f.blocks[i] - int(off); at >= 0 {
			copy(p[at:n], b)
		} else {
			copy(p[:n], b[min(-at, len(b)):])
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// FuzzWalk holds every image to the promise of Walk: no panic, an end, an error of the visitor only,
// files that give no more than they say, no more work than the size of the image allows, and no
// memory because a header says so.
func FuzzWalk(f *testing.F) {
	var layouts []layout
	for _, img := range fuzzImages(f) {
		l, body := pack(img)
		layouts = append(layouts, l)
		f.Add(uint8(len(layouts)-1), body)
	}
	f.Fuzz(func(t *testing.T, which uint8, body []byte) {
		img := fuzzed{layouts[int(which)%len(layouts)], body}
		size := int64(img.size)
		s := &seen{max: 1000, bytes: 1 << 20}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		w := &walk{v: s, work: 8<<20 + workTimes*size}
		err := w.try(func() error { return w.image(volume{img, size, w}) })
		if err != nil && !errors.Is(err, errEnough) {
			t.Errorf("got %v, want an error of the visitor", err)
		}
		runtime.ReadMemStats(&after)
		if took := time.Since(start); took > time.Minute {
			t.Errorf("took %v", took)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 1<<30 {
			t.Errorf("allocated %d bytes", n)
		}
		for _, g := range s.files {
			if len(g.names) == 0 || len(g.names) > maxNTFSNames {
				t.Errorf("a file with %d names", len(g.names))
			}
		}
		for _, n := range s.notes {
			if !known(n) {
				t.Errorf("note %v wraps no error of the package", n)
			}
		}
		Disguised(img, size)
	})
}

// known reports whether an error is one of those that the package promises.
func known(err error) bool {
	for _, e := range []error{ErrDamaged, ErrUnsupported, ErrEncrypted, ErrLimit, ErrAmbiguous} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// fuzzImages are small images of every kind.
func fuzzImages(t testing.TB) [][]byte {
	fat := fixture(t, "fat12.img")
	imgs := [][]byte{fat, dmgOf(fat), mbrOf(fat, fat), gptOf(fat), chainOf(fat, fat), rawCDOf(fixture(t, "eltorito.iso"))}
	for _, name := range []string{
		"rockridge.iso", "joliet.iso", "bridge.iso", "hfsplus.iso", "eltorito.iso", "sessions.iso", "ntfs.img", "udf.img",
		"dynamic.vhd", "fixed.vhd", "a.vhdx", "sparse.vmdk", "stream.vmdk", "plain.qcow2", "packed.qcow2",
	} {
		imgs = append(imgs, fixture(t, name))
	}
	for _, meta := range []bool{false, true} {
		u := newUDF(meta)
		u.file("payload.exe", payload, 3)
		imgs = append(imgs, u.bytes())
	}
	return append(imgs, exfatWith(t, seenFile{names: []string{"payload.exe"}, head: payload, size: int64(len(payload)), link: true}))
}

// What fuzzing changes is what walks read of an image.
func TestFuzzedImagesAreWhole(t *testing.T) {
	for _, img := range fuzzImages(t) {
		l, body := pack(img)
		f := fuzzed{l, body}
		for _, step := range []int{77, 512, 10_000} {
			got, err := io.ReadAll(io.NewSectionReader(f, 0, int64(l.size)))
			if err != nil || !bytes.Equal(got, img) {
				t.Fatalf("read by %d: not what was packed, %v", step, err)
			}
			p := make([]byte, step)
			at := len(img) / 3
			if n, _ := f.ReadAt(p, int64(at)); !bytes.Equal(p[:n], img[at:min(at+step, len(img))]) {
				t.Fatalf("%d bytes at %d: not what was packed", step, at)
			}
		}
	}
}

// FuzzUnpack holds the decoders to theirs: an end, and no more than was asked for.
func FuzzUnpack(f *testing.F) {
	f.Add([]byte("\x38\xb0\x88\x46\x23\x20\x00\x20\x47\x20\x41\x00\x10\xa2\x47\x01\xa0"))
	f.Add([]byte("\x84hello\x10\x04\x40\x00\x00"))
	f.Fuzz(func(t *testing.T, in []byte) {
		if out, err := lznt1(in, 1<<16); len(out) > 1<<16 || err != nil && !known(err) {
			t.Errorf("LZNT1: %d bytes, %v", len(out), err)
		}
		out, err := unpack(&walk{work: 1 << 30}, &adc{in: newByteReader(bytes.NewReader(in))}, 1<<16)
		if len(out) > 1<<16 || err != nil && !known(err) {
			t.Errorf("ADC: %d bytes, %v", len(out), err)
		}
	})
}
