package sanitize

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"rastel/sanitize/eml"
)

const (
	defangedName = "DEFANGED-"
	// maxSafeName is how many bytes of the original name are kept, so that the whole stays well
	// below what a header line, a file system and a mail client's list have room for.
	maxSafeName = 100
	// maxSafeExtension is how long an extension may be that is kept besides; longer ones are taken for
	// a part of the name. A class identifier that was defanged is as long as they come.
	maxSafeExtension = 60
)

// SafeName is the name that Rename should give to a part with these names: it tells what the
// worst of them was, can be saved anywhere, and no desktop runs it. It is its own safe name.
func SafeName(names []string) string {
	return safeName(worstName(names))
}

// MangledName is the name that Mangle gives to a part with these names: a safe name of which the
// extension does nothing, whatever it was.
func MangledName(names []string) string {
	name, ext := worstName(names)
	if plain := plainName(name); ext == "" {
		ext = extension(strings.ToLower(plain))
		if len(ext) > maxSafeExtension {
			ext = ""
		}
	}
	return safeName(name, ext)
}

// safeName makes a name safe; ext is the extension that is to do nothing, if it has one.
func safeName(name, ext string) string {
	stem := plainName(name)
	ext = cmp.Or(ext, riskyExtension(stem))
	if strings.HasPrefix(ext, strings.ToLower(defangedName)) {
		ext = "" // it does nothing already
	}
	if len(stem) >= len(defangedName) && strings.EqualFold(stem[:len(defangedName)], defangedName) {
		stem = stem[len(defangedName):]
	}
	if ext != "" {
		if i := strings.LastIndexByte(stem, '.'); i >= 0 {
			stem = stem[:i]
		}
		ext = "." + defangedName + plainName(ext)
	} else if i := strings.LastIndexByte(stem, '.'); i > 0 && len(stem)-i <= maxSafeExtension {
		stem, ext = stem[:i], stem[i:]
	}
	stem = strings.Trim(shorten(stem, maxSafeName), "._")
	if stem == "" {
		stem = "attachment"
	}
	safe := defangedName + stem + ext
	if riskyExtension(safe) != "" { // shortening has uncovered it
		safe += ".DEFANGED"
	}
	return safe
}

// worstName is the first name that a desktop runs, with the extension by which it does, or else the
// first.
func worstName(names []string) (name, ext string) {
	for _, n := range names {
		if ext := riskyExtension(n); ext != "" {
			return n, ext
		}
	}
	if len(names) == 0 {
		return "", ""
	}
	return names[0], ""
}

// riskyExtension is the extension by which a name is dangerous to open; empty if it is not.
func riskyExtension(name string) string {
	for _, f := range forms(name) {
		ext := extension(f)
		if dangerous[ext] != "" || dangerous[lookAlikes.Replace(ext)] != "" || dangerous[extension(stops.Replace(f))] != "" || htmlExtensions[ext] || clsid.MatchString(f) {
			return shorten(ext, maxSafeName)
		}
	}
	return ""
}

// plainName keeps letters, digits, stops and hyphens of the last element of a path, and puts one
// underscore for each run of anything else.
func plainName(name string) string {
	name = norm.NFKC.String(clip(name))
	name, _, _ = strings.Cut(name[strings.LastIndexAny(name, `/\`)+1:], "\x00")
	var b strings.Builder
	gap := false
	for _, r := range name {
		switch {
		case isInvisible(r):
		case unicode.IsLetter(r) && r != unicode.ReplacementChar, unicode.IsDigit(r), unicode.IsMark(r), r == '.', r == '-':
			b.WriteRune(r)
			gap = false
		case !gap:
			b.WriteByte('_')
			gap = true
		}
	}
	return strings.Trim(b.String(), "._ ")
}

// shorten cuts text to at most n bytes, between characters.
func shorten(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xc0 == 0x80 {
		n--
	}
	return s[:n]
}

// Rename makes the edits that give a part another name, wherever a client may find one: in
// Content-Disposition and Content-Type, in every form of RFC 2231 and in repeated fields. For
// a member it renames the carrier. What of these fields does not concern the name is kept,
// except dates and sizes, and media types that name a program. A part of which all names are safe
// keeps them: what is renamed has one in ASCII besides its own.
func Rename(p *eml.Part, name string) []eml.Edit {
	p = p.Carrier()
	if isNamed(p.Names, SafeName) && programTypes[p.MediaType] == "" {
		return nil
	}
	media := holding(p.MediaType)
	if isOpaque(media) {
		_, ext := worstName(p.Names)
		if _, runs := refused[ext]; runs {
			media = neutralType
		}
	}
	return rename(p, name, media)
}

// isOpaque reports whether an entity can be of another type: one that holds entities cannot, and
// the text of a message would be shown no more.
func isOpaque(media string) bool {
	return !holdsEntities(media) && media != "text/plain" && media != "text/html"
}

func holdsEntities(media string) bool {
	return strings.HasPrefix(media, "multipart/") || strings.HasPrefix(media, "message/") || media == "multipart"
}

// holding is the type itself, or the whole of it where only half is there and clients find parts all
// the same.
func holding(media string) string {
	if media == "multipart" {
		return "multipart/mixed"
	}
	return media
}

// neutralType is the media type by which no client opens anything.
const neutralType = "application/octet-stream"

// Mangle is what the Procmail Email Sanitizer calls so: it makes the edits that give a part
// MangledName, and a media type by which nothing opens it. Whoever wants it can save it under
// its own name. The type of what holds other entities stays, or they would be lost.
func Mangle(p *eml.Part) []eml.Edit {
	p = p.Carrier()
	media := neutralType
	if holdsEntities(p.MediaType) {
		media = holding(p.MediaType)
	}
	if isNamed(p.Names, MangledName) && p.MediaType == media {
		return nil
	}
	return rename(p, MangledName(p.Names), media)
}

// rename makes the edits for a name and a media type.
func rename(p *eml.Part, name, media string) []eml.Edit {
	h := &p.Header
	types, dispositions := slices.Collect(h.All("Content-Type")), slices.Collect(h.All("Content-Disposition"))
	var edits []eml.Edit
	if len(types) > 1 || len(types) == 1 && (hasName(p.Params) || programTypes[p.MediaType] != "" || media != p.MediaType) {
		edits = replaceFields(edits, p, types, typeField(p, name, media))
	}
	end := int64(len(h.Bytes()))
	if len(types) == 0 && media != p.MediaType { // what has no type is text, or would be once it is written anew
		edits = append(edits, eml.Edit{Part: p, Region: eml.InHeader, Start: end, End: end, Text: typeField(p, name, media)})
	}
	if len(dispositions) > 0 {
		return replaceFields(edits, p, dispositions, dispositionField(p, name))
	}
	if len(edits) == 0 {
		edits = append(edits, eml.Edit{Part: p, Region: eml.InHeader, Start: end, End: end, Text: dispositionField(p, name)})
	}
	return edits
}

// isNamed reports whether there are names, each of them one that the function gives.
func isNamed(names []string, safe func([]string) string) bool {
	for _, n := range names {
		if safe([]string{n}) != n {
			return false
		}
	}
	return len(names) > 0
}

// replaceFields puts text in the place of the first field and deletes the others.
func replaceFields(edits []eml.Edit, p *eml.Part, fields []eml.Field, text []byte) []eml.Edit {
	for _, f := range fields {
		edits = append(edits, eml.Edit{Part: p, Region: eml.InHeader, Start: f.Start, End: f.End, Text: text})
		text = nil
	}
	return edits
}

func hasName(params map[string]string) bool {
	for k := range params {
		if eml.IsNameParam(k) {
			return true
		}
	}
	return false
}

func typeField(p *eml.Part, name, media string) []byte {
	if programTypes[media] != "" || !isMediaType(media) {
		media = neutralType
	}
	b := append([]byte("Content-Type: "), media...)
	for _, k := range slices.Sorted(maps.Keys(p.Params)) {
		if v := p.Params[k]; !eml.IsNameParam(k) && isKeptParam(k, v) {
			b = appendParam(b, k, v)
		}
	}
	return append(appendParam(b, "name", name), "\r\n"...)
}

func dispositionField(p *eml.Part, name string) []byte {
	word := "attachment"
	if p.Disposition == "inline" {
		word = "inline"
	}
	b := append([]byte("Content-Disposition: "), word...)
	return append(appendParam(b, "filename", name), "\r\n"...)
}

// maxParam is the longest value of another parameter that is carried over.
const maxParam = 500

// isKeptParam reports whether another parameter is carried over. One that would be mended in the field as it
// was (header/shell, header/null-parameter) is not, or it would be mended when the message comes again.
func isKeptParam(k, v string) bool {
	return isToken(k) && v != "" && len(v) <= maxParam && (k == "boundary" || shellCommand(v) == "")
}

// appendParam writes a parameter on a line of its own: as a quoted string (RFC 2045 section 5.1),
// and where it is not ASCII also in the extended form (RFC 2231 section 4).
func appendParam(b []byte, key, value string) []byte {
	b = append(append(b, ";\r\n\t"...), key...)
	b = append(b, `="`...)
	for _, r := range value {
		switch {
		case r < ' ' || r >= 0x7f:
			b = append(b, '-') // and not '_', which is no end of a safe name
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		default:
			b = append(b, byte(r))
		}
	}
	b = append(b, '"')
	if isPlain(value) {
		return b
	}
	b = append(append(b, ";\r\n\t"...), key...)
	return appendPercent(append(b, "*=UTF-8''"...), value)
}

// appendPercent encodes all but letters, digits and a few marks (attribute-char of RFC 5987).
func appendPercent(b []byte, s string) []byte {
	const hex = "0123456789ABCDEF"
	for i := range len(s) {
		c := s[i]
		if c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' || c == '-' || c == '.' || c == '_' {
			b = append(b, c)
		} else {
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	return b
}

func isMediaType(s string) bool {
	kind, sub, ok := strings.Cut(s, "/")
	return ok && isToken(kind) && isToken(sub) && len(s) <= maxParam
}

// isToken reports whether s is a token (RFC 2045 section 5.1).
func isToken(s string) bool {
	return s != "" && isPlain(s) && !strings.ContainsAny(s, " ()<>@,;:\\\"/[]?=*")
}
