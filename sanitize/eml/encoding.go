package eml

import (
	"fmt"
	"slices"
	"strings"
)

// encodingNames are the values of Content-Transfer-Encoding that are understood: those of RFC
// 2045 section 6.1 and what clients take besides.
var encodingNames = map[string]Encoding{
	"": Identity, "7bit": Identity, "8bit": Identity, "binary": Identity,
	"base64": Base64, "quoted-printable": QuotedPrintable,
	"x-uuencode": UUEncode, "x-uue": UUEncode, "uuencode": UUEncode, "uue": UUEncode,
}

// encoding fills in the transfer encoding, and says where clients differ about it: the result is
// what else they may decode the body from.
func (p *parser) encoding(part *Part, values []string) (others []Encoding) {
	all := make([]Encoding, 0, 4)
	add := func(list ...Encoding) {
		for _, e := range list {
			if !slices.Contains(all, e) {
				all = append(all, e)
			}
		}
	}
	for _, v := range values {
		behind := strings.TrimRight(v, " \t") != v
		v = strings.ToLower(strings.TrimSpace(v))
		if e, ok := encodingNames[v]; ok {
			add(e)
			if behind {
				add(Identity) // Python's email does not know the encoding then; it is no sign of anything odd
			}
			continue
		}
		if commentsIdentity(v) {
			add(Identity)
			continue
		}
		p.ambiguous(part, "mime/ambiguous-encoding", fmt.Sprintf("the encoding is %.100q", v))
		if words := encodingWords(v); len(words) > 0 {
			add(append(words, Identity)...)
		} else {
			add(Identity, Base64, QuotedPrintable)
		}
	}
	if len(values) > 1 && len(all) > 1 {
		p.ambiguous(part, "mime/ambiguous-encoding", "several encodings are declared")
	}
	if len(all) == 0 {
		return nil
	}
	if i := slices.IndexFunc(all, func(e Encoding) bool { return e != Identity }); i > 0 && len(encodingWords(values[0])) > 0 {
		all[0], all[i] = all[i], all[0] // most clients take the one that decodes
	}
	part.Encoding = all[0]
	return all[1:]
}

// commentsIdentity reports whether a value is one that leaves the body as it is, with a comment behind
// it that names no other encoding: a client that knows no comments leaves the body as it is too.
func commentsIdentity(v string) bool {
	word, comment, ok := strings.Cut(v, "(")
	e, known := encodingNames[strings.TrimRight(word, " \t")]
	return ok && known && e == Identity && word != "" && strings.IndexByte(comment, ')') == len(comment)-1 &&
		!slices.ContainsFunc(encodingWords(comment), func(e Encoding) bool { return e != Identity })
}

// encodingWords are the encodings that lenient clients find in a value with comments, quotes and
// whatever else.
func encodingWords(v string) (list []Encoding) {
	for _, w := range strings.FieldsFunc(strings.ToLower(v), func(r rune) bool { return strings.ContainsRune(" \t,;()\"'", r) }) {
		e, ok := encodingNames[w]
		if !ok {
			e, ok = encodingNames[strings.TrimPrefix(w, "x-")]
		}
		if ok && len(list) < maxEncodings {
			list = append(list, e)
		}
	}
	return list
}

// maxEncodings is how many words of one field are taken for encodings.
const maxEncodings = 8
