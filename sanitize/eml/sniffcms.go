package eml

import "bytes"

// The object identifiers that a CMS content (RFC 5652) begins with, but for their last byte: those
// of PKCS #7, and those of S/MIME (RFC 3274, RFC 5083).
var cmsTypes = [][]byte{
	[]byte("\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07"),
	[]byte("\x06\x0b\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01"),
}

// cmsLabels are what PEM calls it (RFC 7468 sections 8 and 9, and what OpenSSL takes besides).
var cmsLabels = [][]byte{[]byte("-----BEGIN PKCS7"), []byte("-----BEGIN CMS"), []byte("-----BEGIN PKCS #7")}

// cmsHead is how many bytes of base64 are decoded to tell what it is.
const cmsHead = 128

// isCMS reports whether content is what S/MIME makes of a message: in DER or BER, in PEM, or in
// base64 once more, as some programs attach it.
func isCMS(head []byte) bool {
	if beginsCMS(head) {
		return true
	}
	head = bytes.TrimLeft(bytes.TrimPrefix(head, []byte("\xef\xbb\xbf")), " \t\r\n")
	for _, l := range cmsLabels {
		if bytes.HasPrefix(head, l) {
			return true
		}
	}
	if !bytes.HasPrefix(head, []byte("M")) {
		return false // 0x30 in base64
	}
	var d base64Decoder
	return beginsCMS(d.decode(nil, head[:min(len(head), cmsHead)]))
}

// beginsCMS looks at a SEQUENCE, of whatever form of length, for its first element.
func beginsCMS(b []byte) bool {
	if len(b) < 2 || b[0] != 0x30 {
		return false
	}
	n := 0 // bytes of the length
	if b[1] > 0x80 {
		n = int(b[1] & 0x7f)
	}
	for _, t := range cmsTypes {
		if len(b) > 2+n && bytes.HasPrefix(b[2+n:], t) {
			return true
		}
	}
	return false
}
