package archive

import (
	"encoding/binary"
	"encoding/hex"
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
	sizes  []uint64 // of the output of each coder
	out    int
	err    error // why it is not to be opened
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

// szHeader reads and bounds the header of the archive at off.
func (o *opening) szHeader(off int64) (*szHeader, error) {
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
		if raw, err = o.szDecode(off, s); err != nil {
			return nil, err
		}
		c = &szCursor{b: raw}
	}
	h := c.header()
	if c.err != nil {
		return nil, c.err
	}
	o.szJudge(h.folders)
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
func (o *opening) szDecode(off int64, s *szStreams) ([]byte, error) {
	if len(s.folders) != 1 || len(s.sizes) == 0 {
		return nil, fmt.Errorf("%w: packed header", errCorrupt)
	}
	o.szJudge(s.folders)
	f := &s.folders[0]
	if f.err != nil {
		return nil, f.err
	}
	size, rest := f.sizes[len(f.sizes)-1], uint64(o.p.Size-off-32)
	switch {
	case len(f.coders) != 1:
		return nil, fmt.Errorf("packed header with %d methods: %w", len(f.coders), errUnsupported)
	case size > maxSzHeader:
		return nil, fmt.Errorf("header of %d bytes: %w", size, errTooMany)
	case s.at > rest || s.sizes[0] > rest-s.at:
		return nil, fmt.Errorf("%w: packed header", errCorrupt)
	}
	in := o.input(off+32+int64(s.at), int64(s.sizes[0]))
	late := &lateReader{open: func() (io.Reader, error) {
		switch c := f.coders[0]; c.id {
		case szCopy:
			return in, nil
		case szLZMA:
			return o.lzma(in, lzmaStream{props: c.props[0], dict: c.dictionary(), size: int64(size), packed: int64(s.sizes[0])})
		case szLZMA2:
			return lzma.Reader2Config{DictCap: int(max(min(c.dictionary(), maxSzHeader), lzma.MinDictCap))}.NewReader2(in)
		}
		return nil, fmt.Errorf("packed header: %w", errUnsupported)
	}}
	raw := make([]byte, size)
	_, err := io.ReadFull(&decoder{r: late}, raw)
	return raw, noEOF(err)
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
func (o *opening) szJudge(folders []szFolder) {
	for i := range folders {
		f := &folders[i]
		for k, c := range f.coders {
			dict, err := c.judge()
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
