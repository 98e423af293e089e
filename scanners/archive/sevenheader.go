package archive

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/ulikunitz/xz/lzma"
)

const (
	sevenZipMagic = "7z\xbc\xaf\x27\x1c"
	// maxSzHeader is the largest header of a 7z archive that is read, packed or unpacked: some
	// hundred bytes for each of 10 000 members is a tenth of it.
	maxSzHeader = 8 << 20
	// maxSzItems bounds every number in the header that something is allocated for.
	maxSzItems = 1 << 17
	// maxSzFolders bounds the folders: the decoder looks for that of each member from the first on.
	maxSzFolders = 20_000
	// maxSzCoders bounds the methods of one folder; 7-Zip has the same limit.
	maxSzCoders = 32
)

// Property IDs of the header (7zFormat.txt).
const (
	szEnd = iota
	szHeaderID
	szArchiveProperties
	szAdditionalStreams
	szMainStreams
	szFiles
	szPackInfo
	szUnpackInfo
	szSubStreams
	szSize
	szCRC
	szFolderID
	szUnpackSize
	szNumUnpackStream
	szEncodedHeader = 23
)

// A szHeader is what must be known of a 7z archive before a decoder may see it.
type szHeader struct {
	files   int
	folders []szFolder
	end     int64 // of the archive in the part
}

// A szFolder is a stream of packed members.
type szFolder struct {
	coders []szCoder
	binds  []uint64 // pairs of an input and the output that feeds it
	sizes  []uint64 // of the output of each coder
	out    int
	err    error // why it is not to be opened
	locked bool  // a method of it is encryption
}

type szCoder struct {
	id    string
	props []byte
}

// szStreams is where packed data is and how it is packed.
type szStreams struct {
	at      uint64 // from the end of the signature header
	sizes   []uint64
	folders []szFolder
}

// szHeader reads and bounds the header of the archive at off. Without a password what is encrypted has
// errEncrypted.
func (o *opening) szHeader(off int64, password string) (*szHeader, error) {
	raw, end, err := o.szRaw(off)
	if err != nil || len(raw) == 0 {
		return &szHeader{end: end}, err
	}
	c := &szCursor{b: raw}
	if raw[0] == szEncodedHeader {
		c.byte()
		s := c.streams()
		if c.err != nil {
			return nil, c.err
		}
		if raw, err = o.szDecode(off, s, password); err != nil {
			return nil, err
		}
		c = &szCursor{b: raw}
	}
	h := c.header()
	if c.err != nil {
		return nil, c.err
	}
	o.szJudge(h.folders, password)
	h.end = end
	return h, nil
}

// szRaw reads the header as it stands in the archive, and tells where the archive ends.
func (o *opening) szRaw(off int64) ([]byte, int64, error) {
	var start [32]byte
	if n, _ := o.src.ReadAt(start[:], off); n < len(start) {
		return nil, 0, io.ErrUnexpectedEOF
	}
	if crc32.ChecksumIEEE(start[12:]) != binary.LittleEndian.Uint32(start[8:]) {
		return nil, 0, fmt.Errorf("%w: start header", errChecksum)
	}
	at, size := binary.LittleEndian.Uint64(start[12:]), binary.LittleEndian.Uint64(start[20:])
	rest := uint64(o.p.Size - off - int64(len(start)))
	switch {
	case at > rest || size > rest-at:
		return nil, 0, fmt.Errorf("%w, or is cut off", errVolume)
	case size > maxSzHeader:
		return nil, 0, fmt.Errorf("header of %d bytes: %w", size, errTooMany)
	}
	raw := make([]byte, size)
	first := off + int64(len(start)) + int64(at)
	if n, err := o.src.ReadAt(raw, first); n < len(raw) {
		return nil, 0, noEOF(err)
	}
	if size > 0 && crc32.ChecksumIEEE(raw) != binary.LittleEndian.Uint32(start[28:]) {
		return nil, 0, fmt.Errorf("%w: header", errChecksum)
	}
	return raw, first + int64(size), nil
}

// szDecode unpacks a packed header. 7-Zip packs it with LZMA, and encrypts it if told to.
func (o *opening) szDecode(off int64, s *szStreams, password string) ([]byte, error) {
	if len(s.folders) != 1 || len(s.sizes) == 0 {
		return nil, fmt.Errorf("%w: packed header", errCorrupt)
	}
	o.szJudge(s.folders, password)
	f := &s.folders[0]
	if f.err != nil {
		return nil, f.err
	}
	order, err := f.order()
	if err != nil {
		return nil, fmt.Errorf("packed header: %w", err)
	}
	size, rest := f.sizes[order[len(order)-1]], uint64(o.p.Size-off-32)
	switch {
	case size > maxSzHeader:
		return nil, fmt.Errorf("header of %d bytes: %w", size, errTooMany)
	case s.at > rest || s.sizes[0] > rest-s.at:
		return nil, fmt.Errorf("%w: packed header", errCorrupt)
	}
	late := &lateReader{open: func() (io.Reader, error) {
		r, packed := io.Reader(o.input(off+32+int64(s.at), int64(s.sizes[0]))), s.sizes[0]
		for _, k := range order {
			var err error
			if r, err = o.szCoder(&f.coders[k], r, packed, f.sizes[k], password); err != nil {
				return nil, err
			}
			packed = f.sizes[k]
		}
		return r, nil
	}}
	raw := make([]byte, size)
	_, err = io.ReadFull(&decoder{r: late}, raw)
	return raw, noEOF(err)
}

// order is the order in which the methods of a packed header are undone: one, or encryption and one.
func (f *szFolder) order() ([]int, error) {
	switch {
	case len(f.coders) == 1 && f.out == 1:
		return []int{0}, nil
	case len(f.coders) == 2 && f.out == 2 && len(f.binds) == 2 && f.binds[0] <= 1 && f.binds[1] == 1-f.binds[0] && len(f.sizes) == 2:
		return []int{int(f.binds[1]), int(f.binds[0])}, nil
	}
	return nil, fmt.Errorf("%d methods: %w", len(f.coders), errUnsupported)
}

// szCoder undoes one method of a packed header.
func (o *opening) szCoder(c *szCoder, r io.Reader, packed, size uint64, password string) (io.Reader, error) {
	switch c.id {
	case szAES:
		return szDecrypt(c.props, password, io.LimitReader(r, int64(packed)), size)
	case szCopy:
		return r, nil
	case szLZMA:
		return o.lzma(bufio.NewReader(r), lzmaStream{props: c.props[0], dict: c.dictionary(), size: int64(size), packed: int64(packed)})
	case szLZMA2:
		return lzma.Reader2Config{DictCap: int(max(min(c.dictionary(), maxSzHeader), lzma.MinDictCap))}.NewReader2(r)
	}
	return nil, fmt.Errorf("packed header: %w", errUnsupported)
}

// The methods that are told apart, by their IDs (Methods.txt of 7-Zip).
const (
	szCopy  = "00"
	szLZMA  = "030101"
	szPPMd  = "030401"
	szAES   = "06f10701"
	szLZMA2 = "21"
)

// szPlain are the other methods that the decoder has, whose memory is small whatever their
// properties say: filters, Deflate, bzip2, Brotli, LZ4. Zstandard is left out, because its
// window cannot be bounded there.
const szPlain = " 03 03030103 0303011b 03030205 03030501 03030805 0a 040108 040202 04f71102 04f71104 "

// szJudge says of each folder why it is not to be opened.
func (o *opening) szJudge(folders []szFolder, password string) {
	for i := range folders {
		f := &folders[i]
		for k, c := range f.coders {
			dict, err := c.judge()
			if c.id == szAES {
				f.locked = true
				if errors.Is(err, errEncrypted) && password != "" {
					err = nil
				}
			}
			if c.id == szLZMA && k < len(f.sizes) {
				dict = min(dict, int64(min(f.sizes[k], 1<<32)))
			}
			if e := o.dictionary(dict); err == nil {
				err = e
			}
			if err != nil && (f.err == nil || c.id == szAES) {
				f.err = err
			}
		}
	}
}

// judge tells what memory a method wants, or why it cannot be used.
func (c *szCoder) judge() (int64, error) {
	switch c.id {
	case szAES:
		if _, err := szKeyOf(c.props); err != nil {
			return 0, err
		}
		return 0, errEncrypted
	case szLZMA, szPPMd:
		if len(c.props) != 5 {
			return 0, fmt.Errorf("%w: properties of method %s", errCorrupt, c.id)
		}
	case szLZMA2:
		if len(c.props) != 1 || c.props[0] > 40 {
			return 0, fmt.Errorf("%w: properties of method %s", errCorrupt, c.id)
		}
	default:
		if c.id != szCopy && !containsWord(szPlain, c.id) {
			return 0, fmt.Errorf("method %s is %w", c.id, errUnsupported)
		}
		return 0, nil
	}
	return int64(c.dictionary()), nil
}

// dictionary is the size of the dictionary that the properties ask for.
func (c *szCoder) dictionary() uint32 {
	if c.id == szLZMA2 {
		p := c.props[0]
		return uint32(min((2|int64(p&1))<<(p/2+11), 1<<32-1))
	}
	return binary.LittleEndian.Uint32(c.props[1:])
}

func methodID(b []byte) string { return hex.EncodeToString(b) }
