package eml

import (
	"slices"
	"strings"
)

// splitName takes the marks of RFC 2231 off a parameter's name: "filename*2*".
func splitName(name string) param {
	name = name[strings.LastIndexAny(name, ",:\"")+1:] // "attachment,filename"
	p := param{name: strings.ToLower(name), section: -1}
	if rest, ok := strings.CutSuffix(p.name, "*"); ok {
		p.name, p.extended = rest, true
	}
	base, num, ok := strings.Cut(p.name, "*")
	if !ok {
		return p
	}
	p.name = base // also where no number follows: some clients look no further
	if num == "" || len(num) > 5 || strings.Trim(num, "0123456789") != "" {
		return p
	}
	p.section = 0
	for _, c := range num {
		p.section = p.section*10 + int(c-'0')
	}
	return p
}

// joinPieces puts continuations together (RFC 2231 section 3): in the order of their numbers up
// to the first gap, and, as other clients do, all of them, in the order in which they stand, and the
// first and the last of those that have one number.
func joinPieces(pieces []param) []string {
	if len(pieces) == 0 {
		return nil
	}
	asTheyStand := join(pieces)
	slices.SortStableFunc(pieces, func(a, b param) int { return a.section - b.section })
	sameSection := func(a, b param) bool { return a.section == b.section }
	first := slices.CompactFunc(slices.Clone(pieces), sameSection)
	last := slices.Clone(pieces)
	slices.Reverse(last)
	last = slices.CompactFunc(last, sameSection)
	slices.Reverse(last)
	gap := 0
	for gap < len(first) && first[gap].section == gap {
		gap++
	}
	out := append(join(first[:gap]), join(first)...)
	out = append(out, join(last)...)
	return append(append(out, join(pieces)...), asTheyStand...)
}

// join puts pieces together: with the charset that the first one tells, and, if others tell one
// too, without those.
func join(pieces []param) []string {
	var text, bare strings.Builder
	charset := ""
	for i, p := range pieces {
		v := p.value
		if p.extended && i == 0 {
			charset, v = splitExtended(v)
		}
		rest := v
		if p.extended {
			if _, r := splitExtended(v); i > 0 {
				rest = r
			}
			v, rest = percentDecode(v), percentDecode(rest)
		}
		text.WriteString(v)
		bare.WriteString(rest)
	}
	return []string{ToUTF8(charset, text.String()), ToUTF8(charset, bare.String())}
}

// decodeExtended decodes charset'language'value (RFC 2231 section 4).
func decodeExtended(v string) string {
	charset, rest := splitExtended(v)
	return ToUTF8(charset, percentDecode(rest))
}

func splitExtended(v string) (charset, rest string) {
	charset, rest, ok := strings.Cut(v, "'")
	if !ok {
		return "", v
	}
	_, rest, ok = strings.Cut(rest, "'")
	if !ok {
		return "", v
	}
	return charset, rest
}

// percentDecode decodes %XX and leaves anything else as it is.
func percentDecode(v string) string {
	if strings.IndexByte(v, '%') < 0 {
		return v
	}
	b := make([]byte, 0, len(v))
	for i := 0; i < len(v); i++ {
		if v[i] == '%' && i+2 < len(v) {
			if hi, lo := unhex[v[i+1]], unhex[v[i+2]]; hi|lo < 16 {
				b = append(b, hi<<4|lo)
				i += 2
				continue
			}
		}
		b = append(b, v[i])
	}
	return string(b)
}
