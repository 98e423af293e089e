package archive

import (
	"bytes"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/bits"

	"rastel/scanners"
	"rastel/scanners/archive/lzx"
)

// Of the format of images of Windows ([MS-WIM], "Windows Imaging File Format").
const (
	wimHeader   = 208
	wimEntry    = 50 // of the table of streams
	wimSolid    = 0x10
	wimPacked   = 0x04
	wimMetadata = 0x02

	wimXPRESS = 0x20000
	wimLZX    = 0x40000

	// maxWIMMetadata is how many bytes the directories of one image may have.
	maxWIMMetadata = 64 << 20
	maxXpressChunk = 64 << 10
)

// A wim is an image: streams, known by their hash, and directories that name them.
type wim struct {
	o       *opening
	method  uint32
	chunk   int64
	part    uint16
	parts   uint16
	decoder *lzx.Decoder
	streams map[wimHash]bool
	names   map[wimHash]*wimNames
	order   []*wimNames // as they are met
	packed  []byte
	named   int // names so far
}

type wimHash [sha1.Size]byte

// wimNames are all names of one stream, in as many sets as it takes.
type wimNames struct {
	hash wimHash
	sets []nameSet
}

// A wimResource is where a stream is.
type wimResource struct {
	size, off, unpacked int64
	flags               byte
	part                uint16
	hash                wimHash
}

func wimResourceOf(b []byte) wimResource {
	return wimResource{
		size: int64(binary.LittleEndian.Uint64(b) & (1<<56 - 1)), flags: b[7],
		off: int64(binary.LittleEndian.Uint64(b[8:])), unpacked: int64(binary.LittleEndian.Uint64(b[16:])),
	}
}

// openWIM opens an image of Windows.
func openWIM(o *opening) error {
	b, err := o.bytesAt(0, wimHeader)
	if err != nil {
		return o.failed(o.p, err)
	}
	w := &wim{
		o: o, method: binary.LittleEndian.Uint32(b[0x10:]), chunk: int64(binary.LittleEndian.Uint32(b[0x14:])),
		part: binary.LittleEndian.Uint16(b[0x28:]), parts: binary.LittleEndian.Uint16(b[0x2a:]),
		streams: map[wimHash]bool{}, names: map[wimHash]*wimNames{},
	}
	if w.parts > 1 {
		o.report(o.p, multivolume, fmt.Sprintf("part %d of %d", w.part, w.parts))
	}
	table := wimResourceOf(b[0x30:])
	if err := w.each(table, w.directories); err != nil {
		return err
	}
	if err := w.each(table, w.stream); err != nil || o.tooDamaged() {
		return err
	}
	return w.missing()
}

// each calls f for the entries of the table of streams, which is read anew each time.
func (w *wim) each(table wimResource, f func(wimResource) error) error {
	r := w.reader(table)
	for left := table.unpacked; left >= wimEntry; left -= wimEntry {
		var b [wimEntry]byte
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return w.o.failed(w.o.p, noEOF(err))
		}
		res := wimResourceOf(b[:])
		res.part, res.hash = binary.LittleEndian.Uint16(b[24:]), wimHash(b[30:])
		if err := f(res); err != nil || w.o.damage >= maxDamaged {
			return err
		}
	}
	return nil
}

// directories reads those of one image.
func (w *wim) directories(res wimResource) error {
	if res.flags&wimMetadata == 0 {
		w.streams[res.hash] = true
		return w.o.fatal()
	}
	if res.unpacked > maxWIMMetadata {
		return w.o.failed(w.o.p, errTooMany)
	}
	var b bytes.Buffer
	_, err := io.Copy(&b, &decoder{r: newHashed(w.reader(res), res)})
	if budget := w.o.b.Take(int64(b.Len())); budget != nil {
		return budget
	}
	if err == nil {
		err = w.tree(b.Bytes())
	}
	if errors.Is(err, scanners.ErrBudget) {
		return err
	}
	if err != nil {
		return w.o.failed(w.o.p, err)
	}
	return nil
}

// stream yields one stream, with all its names.
func (w *wim) stream(res wimResource) error {
	if res.flags&wimMetadata != 0 || res.flags&wimSolid != 0 && res.unpacked == 1<<32 {
		return nil
	}
	sets := []nameSet{nil}
	if n := w.names[res.hash]; n != nil {
		sets = n.sets
	}
	for _, names := range sets {
		if err := w.member(names, res); err != nil || w.o.damage >= maxDamaged {
			return err
		}
	}
	return nil
}

func (w *wim) member(names nameSet, res wimResource) error {
	switch {
	case res.part != w.part:
		return w.o.closed(names, multivolume, "in another part")
	case res.flags&wimSolid != 0:
		return w.o.closed(names, unsupported, "a solid image of Windows is not opened")
	}
	_, err := w.o.member(names, newHashed(w.reader(res), res))
	return err
}

// missing yields the files that have no stream: they are empty, or their streams are not here.
func (w *wim) missing() error {
	for _, n := range w.order {
		if w.streams[n.hash] {
			continue
		}
		check, detail := damaged, "its content is not there"
		switch {
		case n.hash == wimHash{}:
			check, detail = "", ""
		case w.parts > 1:
			check, detail = multivolume, "in another part"
		}
		for _, names := range n.sets {
			if err := w.o.closed(names, check, detail); err != nil {
				return err
			}
		}
	}
	return nil
}

// reader reads what a resource unpacks to.
func (w *wim) reader(res wimResource) io.Reader {
	size := w.o.p.Size
	if res.off < 0 || res.off > size || res.size > size-res.off || res.unpacked < 0 {
		return unread(io.ErrUnexpectedEOF)
	}
	if res.flags&wimPacked == 0 {
		return newChecked(io.NewSectionReader(w.o.src, res.off, res.size), res.unpacked, nil)
	}
	if err := w.start(); err != nil {
		return unread(err)
	}
	return &wimReader{w: w, res: res}
}

// start makes the decoder, once.
func (w *wim) start() error {
	exponent := bits.Len64(uint64(w.chunk)) - 1
	switch {
	case w.packed != nil:
		return nil
	case w.method&(wimLZX|wimXPRESS) == 0:
		return fmt.Errorf("%w: the method of an image of Windows", errUnsupported)
	case w.chunk != 1<<max(exponent, 0) || exponent < lzx.MinWindow-3 || exponent > lzx.MaxWindow, w.method&wimXPRESS != 0 && w.chunk > maxXpressChunk,
		w.method&wimLZX != 0 && exponent < lzx.MinWindow:
		return errCorrupt
	}
	if err := w.o.dictionary(3 * w.chunk); err != nil {
		return err
	}
	if w.method&wimLZX != 0 {
		w.decoder = lzx.NewWIM(exponent)
	}
	w.packed = make([]byte, w.chunk)
	return nil
}

// A failedReader gives an error.
type failedReader struct{ err error }

func (f failedReader) Read([]byte) (int, error) { return 0, f.err }

func unread(err error) io.Reader { return failedReader{err} }

// A wimReader reads a packed resource: a table of where its chunks are, and the chunks.
type wimReader struct {
	w    *wim
	res  wimResource
	next int64 // chunk
	room []byte
	out  []byte // of the last, what was not read yet
}

func (r *wimReader) Read(p []byte) (int, error) {
	if len(r.out) == 0 {
		if r.next*r.w.chunk >= r.res.unpacked {
			return 0, io.EOF
		}
		if err := r.unpack(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.out)
	r.out = r.out[n:]
	return n, nil
}

// unpack unpacks the next chunk, to a buffer of its own, for the table of streams is read between others.
func (r *wimReader) unpack() error {
	w := r.w
	n := min(r.res.unpacked-r.next*w.chunk, w.chunk)
	from, to, err := r.extent()
	if err != nil {
		return err
	}
	if from < 0 || to > r.res.size || to <= from || to-from > n {
		return errCorrupt
	}
	in := w.packed[:to-from]
	if k, err := w.o.src.ReadAt(in, r.res.off+from); k < len(in) {
		return noEOF(err)
	}
	r.next++
	if r.room == nil {
		r.room = make([]byte, min(w.chunk, r.res.unpacked))
	}
	r.out = r.room[:n]
	switch {
	case int64(len(in)) == n:
		copy(r.out, in)
		return nil
	case w.decoder != nil:
		w.decoder.Reset()
		return w.decoder.Decode(r.out, in)
	}
	return lzx.Xpress(r.out, in)
}

// extent gives where in the resource the next chunk is. The table has none for the first.
func (r *wimReader) extent() (from, to int64, err error) {
	entry := int64(4)
	if r.res.unpacked >= 1<<32 {
		entry = 8
	}
	count := (r.res.unpacked-1)/r.w.chunk + 1
	table := entry * (count - 1)
	if table > r.res.size {
		return 0, 0, errCorrupt
	}
	at := func(i int64) (int64, error) {
		switch {
		case i == 0:
			return table, nil
		case i == count:
			return r.res.size, nil
		}
		b, err := r.w.o.bytesAt(r.res.off+entry*(i-1), int(entry))
		if err != nil {
			return 0, err
		}
		b = append(b, 0, 0, 0, 0)
		return table + int64(binary.LittleEndian.Uint64(b)&(1<<(8*entry-1)-1)), nil
	}
	if from, err = at(r.next); err == nil {
		to, err = at(r.next + 1)
	}
	return from, to, err
}

// A hashed reader compares what was read with the hash by which it is known.
type hashed struct {
	r    io.Reader
	sum  hash.Hash
	want wimHash
}

func newHashed(r io.Reader, res wimResource) io.Reader {
	return &hashed{r: r, sum: sha1.New(), want: res.hash}
}

func (h *hashed) Read(p []byte) (int, error) {
	n, err := h.r.Read(p)
	h.sum.Write(p[:n])
	if err == io.EOF && wimHash(h.sum.Sum(nil)) != h.want {
		err = errChecksum
	}
	return n, err
}
