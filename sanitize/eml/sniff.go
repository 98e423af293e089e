package eml

import (
	"bytes"
	"encoding/binary"
	"io"
	"regexp"
	"unicode/utf8"
)

// sniffHead is how many bytes at the start of a part its type is told from.
const sniffHead = 1024

// A magic is a byte string at a fixed place that tells a type.
type magic struct {
	at   int
	sig  string
	word string
}

// magics are tried in order; the first that fits tells the type.
var magics = []magic{
	{0, "\x7fELF", "elf"},
	{0, "\xfe\xed\xfa\xce", "macho"}, {0, "\xfe\xed\xfa\xcf", "macho"},
	{0, "\xce\xfa\xed\xfe", "macho"}, {0, "\xcf\xfa\xed\xfe", "macho"},
	{0, "dex\n", "dex"}, {0, "\x00asm", "wasm"},
	{0, "L\x00\x00\x00\x01\x14\x02\x00", "lnk"}, // MS-SHLLINK 2.1
	{0, "ITSF", "chm"}, {0, "?_\x03\x00", "hlp"},

	{0, "PK\x03\x04", "zip"}, {0, "PK\x05\x06", "zip"}, {0, "PK\x07\x08", "zip"}, {0, "PK00PK\x03\x04", "zip"},
	{0, "\x1f\x8b", "gzip"}, {0, "BZh", "bzip2"}, {0, "\xfd7zXZ\x00", "xz"},
	{0, "\x28\xb5\x2f\xfd", "zstd"}, {0, "\x04\x22\x4d\x18", "lz4"}, {0, "\x02\x21\x4c\x18", "lz4"},
	{0, "LZIP", "lzip"}, {0, "7z\xbc\xaf\x27\x1c", "7z"}, {0, "Rar!\x1a\x07", "rar"}, {0, "RE~^", "rar"},
	{257, "ustar", "tar"}, {0, "070701", "cpio"}, {0, "070702", "cpio"}, {0, "070707", "cpio"},
	{0, "!<arch>\n", "ar"}, {0, "\xed\xab\xee\xdb", "rpm"}, {0, "MSCF", "cab"}, {0, "ISc(", "cab"},
	{7, "**ACE**", "ace"}, {20, "\xdc\xa7\xc4\xfd", "zoo"}, {0, "\x1f\x9d", "compress"}, {0, "\xff\x06\x00\x00sNaPpY", "snappy"},
	{0, "SZDD\x88\xf0\x27\x33", "szdd"}, {0, "SZ \x88\xf0\x27\x33\xd1", "szdd"}, {0, "KWAJ\x88\xf0\x27\xd1", "kwaj"},
	{0, "xar!", "xar"}, {0, "vhdxfile", "vhdx"}, {0, "conectix", "vhd"}, {0, "KDMV", "vmdk"}, {0, "QFI\xfb", "qcow"}, {0, "encrcdsa", "dmg"}, {0, "MSWIM\x00\x00\x00", "wim"},
	{0, "\x78\x9f\x3e\x22", "tnef"},                                                // MS-OXTNEF 2.1.3.1
	{0, "\x00\x05\x16\x00", "applesingle"}, {0, "\x00\x05\x16\x07", "appledouble"}, // RFC 1740 appendix A

	{0, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "ole"}, // MS-CFB 2.2
	{0, "ActiveMime", "activemime"},                // of Word, in pages and XML
	{0, "{\\rt", "rtf"},                            // Word takes a damaged "{\rtf1" too
	{0, "\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d\xae\xb1\x53\x78\xd0\x29\x96\xd3", "onenote"},
	{0, "%!PS", "postscript"}, {0, "\xc5\xd0\xd3\xc6", "postscript"},

	{0, "\x89PNG\r\n\x1a\n", "png"}, {0, "\xff\xd8\xff", "jpeg"}, {0, "GIF87a", "gif"}, {0, "GIF89a", "gif"},
	{0, "II*\x00", "tiff"}, {0, "MM\x00*", "tiff"}, {0, "\x00\x00\x01\x00", "ico"}, {0, "8BPS", "psd"},
	{40, " EMF", "emf"}, {4, "ftypheic", "heif"}, {4, "ftypmif1", "heif"}, {4, "ftypavif", "heif"},
	{4, "ftyp", "mp4"}, {0, "ID3", "mp3"}, {0, "\xff\xfb", "mp3"}, {0, "OggS", "ogg"}, {0, "fLaC", "flac"},
	{0, "\x1a\x45\xdf\xa3", "matroska"}, {0, "0&\xb2u\x8ef\xcf\x11", "asf"},
	{0, "FWS", "flash"}, {0, "CWS", "flash"}, {0, "ZWS", "flash"},
	{0, "\x00\x01\x00\x00\x00", "font"}, {0, "OTTO", "font"}, {0, "wOFF", "font"}, {0, "wOF2", "font"},
	{0, "-----BEGIN PGP ", "pgp"},
}

// farMagics are further in than sniffHead.
var farMagics = []magic{
	{0x8001, "CD001", "iso"}, {0x8801, "CD001", "iso"}, {0x9001, "CD001", "iso"}, // ECMA-119 8.1
	{0x8009, "CDROM", "iso"},                           // High Sierra, which came before
	{0x9311, "CD001", "iso"}, {0x9319, "CD001", "iso"}, // with all 2352 bytes of each sector
	{0x8001, "BEA01", "udf"}, {0x8001, "NSR0", "udf"}, // ECMA-167 2/9
}

// sniff tells what content is by its own bytes: a word of Types.
func sniff(r io.ReaderAt, size int64) string {
	if size == 0 {
		return "empty"
	}
	var buf [sniffHead]byte
	n, _ := r.ReadAt(buf[:min(sniffHead, size)], 0)
	head := buf[:n]
	if word := sniffBinary(head); word != "" {
		return word
	}
	if size > 0x8006 {
		if word := sniffFar(r, size); word != "" {
			return word
		}
	}
	if isDisk(r, head, size) {
		return "img"
	}
	return sniffText(head)
}

func sniffBinary(head []byte) string {
	if isCMS(head) { // before others, whose magic may be that of what it carries
		return "pkcs7"
	}
	for i := range magics {
		m := &magics[i]
		if len(head) >= m.at+len(m.sig) && string(head[m.at:m.at+len(m.sig)]) == m.sig {
			return m.word
		}
	}
	switch {
	case bytes.HasPrefix(head, []byte("MZ")) || bytes.HasPrefix(head, []byte("ZM")):
		return sniffMZ(head)
	case bytes.HasPrefix(head, []byte("\xca\xfe\xba\xbe")) && len(head) >= 8:
		// A Java class has its version there (45 and up), a fat Mach-O the number of its parts.
		if binary.BigEndian.Uint32(head[4:]) < 40 {
			return "macho"
		}
		return "java-class"
	case bytes.HasPrefix(head, []byte("RIFF")) && len(head) >= 12:
		if string(head[8:12]) == "WEBP" {
			return "webp"
		}
		return "riff"
	case bytes.HasPrefix(head, []byte("BM")) && len(head) >= 18 && head[15] == 0 && head[16] == 0 && head[17] == 0:
		return "bmp"
	case len(head) >= 7 && head[2] == '-' && head[3] == 'l' && (head[4] == 'h' || head[4] == 'z') && head[6] == '-':
		return "lha"
	case len(head) >= 13 && head[0] == 0x5d && head[1] == 0 && head[2] == 0 && (head[12] == 0 || head[12] == 0xff):
		return "lzma" // the usual properties; the format has no signature
	case bytes.Contains(head, []byte("%PDF-")):
		return "pdf" // readers accept it anywhere in the first 1024 bytes (PDF 1.7 implementation note 13)
	case isARJ(head):
		return "arj"
	case isTarHeader(head):
		return "tar"
	case isOldCpio(head, binary.LittleEndian), isOldCpio(head, binary.BigEndian):
		return "cpio"
	}
	return ""
}

// sniffMZ tells a program from text that happens to begin with those letters.
func sniffMZ(head []byte) string {
	if isText(head) {
		return ""
	}
	if len(head) >= 0x40 {
		at := int64(binary.LittleEndian.Uint32(head[0x3c:]))
		if at+4 <= int64(len(head)) && string(head[at:at+4]) != "PE\x00\x00" {
			return "dos"
		}
	}
	return "pe"
}

// isARJ tells an archive of ARJ by its main header (ARJ technical information), for its magic has two
// bytes only.
func isARJ(head []byte) bool {
	if len(head) < 11 || string(head[:2]) != "\x60\xea" {
		return false
	}
	n := binary.LittleEndian.Uint16(head[2:])
	return n >= 30 && n <= 2600 && head[4] >= 30 && uint16(head[4]) <= n && head[10] == 2
}

// isOldCpio tells a cpio in the binary format, whose magic has two bytes, by the name in its first entry
// (POSIX pax, binary cpio header; 13 words and a name that ends in NUL).
func isOldCpio(head []byte, order binary.ByteOrder) bool {
	if len(head) < 28 || order.Uint16(head) != 0o70707 {
		return false
	}
	n := int(order.Uint16(head[20:]))
	end := bytes.IndexByte(head[26:], 0)
	return n >= 2 && (end == n-1 || end < 0 && 26+n > len(head))
}

// isTarHeader tells an old tar, which has no magic, by its checksum (POSIX pax, ustar).
func isTarHeader(head []byte) bool {
	if len(head) < 512 || head[0] == 0 {
		return false
	}
	var sum, want int64
	for i, c := range head[:512] {
		if i >= 148 && i < 156 {
			c = ' '
		}
		sum += int64(c)
	}
	digits := 0
	for _, c := range head[148:156] {
		if c >= '0' && c <= '7' {
			want = want*8 + int64(c-'0')
			digits++
		} else if digits > 0 {
			break
		}
	}
	return digits >= 3 && want == sum
}

func sniffFar(r io.ReaderAt, size int64) string {
	var b [8]byte
	for _, m := range farMagics {
		n, _ := r.ReadAt(b[:len(m.sig)], int64(m.at))
		if string(b[:n]) == m.sig {
			return m.word
		}
	}
	if size >= 512 { // a trailer of 512 bytes is all that tells a fixed VHD or a DMG
		n, _ := r.ReadAt(b[:], size-512)
		if string(b[:n]) == "conectix" {
			return "vhd"
		}
		if n >= 4 && string(b[:4]) == "koly" {
			return "dmg"
		}
	}
	return ""
}

// sniffText tells kinds of text apart, as a browser or a desktop would at a double click.
func sniffText(head []byte) string {
	text := decodeUTF16(head)
	if !isText(text) {
		// A browser told to show HTML does not mind control characters before it.
		if looksHTML(text) {
			return "html"
		}
		if word := sniffEncoded(bytes.ToLower(text)); word != "" {
			return word
		}
		return "data"
	}
	t := bytes.TrimLeft(bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")), " \t\r\n\f")
	low := bytes.ToLower(t)
	has := func(s string) bool { return bytes.HasPrefix(low, []byte(s)) }
	switch {
	case len(t) == 0:
		return "text"
	case has("#!"):
		return "script"
	case has("windows registry editor") || has("regedit4"):
		return "registry"
	case has("@echo off") || has("@echo  off"):
		return "batch"
	case has("begin:vcalendar"):
		return "calendar"
	case has("begin:vcard"):
		return "vcard"
	case has("<svg"), has("<?xml") && bytes.Contains(low, []byte("<svg")), has("<!doctype svg"):
		return "svg"
	case looksHTML(t):
		return "html"
	case has("<?xml"):
		return "xml"
	case looksMail(low):
		return "mail"
	}
	if word := sniffEncoded(low); word != "" {
		return word
	}
	return "text"
}

// begins is the line that begins a uuencoded file (POSIX uuencode).
var begins = regexp.MustCompile(`^begin(?:-base64)? [0-7]{3,4} [^\r\n]+[\r\n]`)

// sniffEncoded tells text that is nothing but an encoded file; low is in lower case.
func sniffEncoded(low []byte) string {
	switch {
	case bytes.HasPrefix(low, []byte("=ybegin ")):
		return "yenc"
	case begins.Match(low):
		return "uuencode"
	}
	// RFC 1741 section 3; text may be before it.
	if at := bytes.Index(low, []byte("(this file must be converted with binhex")); at >= 0 && bytes.Contains(low[at:], []byte("\n:")) {
		return "binhex"
	}
	return ""
}

// htmlStarts are tags that make a browser take a text for HTML (WHATWG MIME Sniffing 7.1),
// and those that phishing pages begin with.
var htmlStarts = []string{
	"<!doctype html", "<html", "<head", "<script", "<iframe", "<h1", "<div", "<font", "<table", "<a ", "<style",
	"<title", "<b>", "<body", "<br", "<p>", "<p ", "<!--", "<form", "<meta", "<img", "<center", "<span", "<object", "<embed", "<base", "<link",
}

// looksHTML looks for the start of an HTML document, and for its outer element anywhere in the
// first bytes: a browser does not need it at the start when the label says HTML.
func looksHTML(t []byte) bool {
	low := bytes.ToLower(bytes.TrimLeft(t, "\x00 \t\r\n\f"))
	for _, s := range htmlStarts {
		if bytes.HasPrefix(low, []byte(s)) {
			return true
		}
	}
	return bytes.Contains(low, []byte("<html")) || bytes.Contains(low, []byte("<!doctype html")) ||
		bytes.Contains(low, []byte("<script"))
}

// mailStarts are fields that a stored mail message begins with.
var mailStarts = []string{"received:", "return-path:", "delivered-to:", "from:", "date:", "message-id:", "mime-version:", "x-mozilla-status:"}

// looksMail reports whether text begins with the header of a mail: with a usual field of one and two
// more, so that a note that begins with "From:" is not taken for one, or with fields of MIME.
func looksMail(low []byte) bool {
	fields, first, mime := 0, false, false
	for line := range bytes.Lines(low) {
		if len(bytes.TrimSpace(line)) == 0 {
			break
		}
		if continues(line) || fields == 0 && bytes.HasPrefix(line, []byte("from ")) { // as in an mbox file
			continue
		}
		name, _, ok := bytes.Cut(line, []byte(":"))
		if name = bytes.TrimRight(name, " \t"); !ok || !isFieldName(name) {
			break
		}
		for _, s := range mailStarts {
			first = first || fields == 0 && len(name)+1 == len(s) && bytes.HasPrefix(line, []byte(s))
		}
		mime = mime || looksLikeField(line)
		fields++
	}
	return mime || first && fields >= 3
}

// decodeUTF16 gives UTF-16 with a byte order mark as UTF-8, and anything else as it is.
func decodeUTF16(head []byte) []byte {
	var order binary.ByteOrder
	switch {
	case bytes.HasPrefix(head, []byte("\xff\xfe")):
		order = binary.LittleEndian
	case bytes.HasPrefix(head, []byte("\xfe\xff")):
		order = binary.BigEndian
	default:
		return head
	}
	out := make([]byte, 0, len(head))
	for i := 2; i+1 < len(head); i += 2 {
		out = utf8.AppendRune(out, rune(order.Uint16(head[i:])))
	}
	return out
}

// isText reports whether there is no control character that text does not have.
func isText(head []byte) bool {
	for _, c := range head {
		if c < 0x20 && c != '\t' && c != '\n' && c != '\r' && c != '\f' && c != 0x1b && c != 0x08 || c == 0x7f {
			return false
		}
	}
	return true
}
