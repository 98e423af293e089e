package eml

import "strings"

const (
	// maxWords is the longest field value whose encoded words are decoded; longer ones cost more
	// than they tell.
	maxWords = 64 << 10
	// maxCharset is the longest name of a charset in an encoded word.
	maxCharset = 64
)

// DecodeWords decodes the encoded words (RFC 2047) in s, wherever they stand and as leniently as
// clients do: in quotes, with blanks in them, without padding, of any charset. What is no encoded
// word stays as it is. The result may hold anything, line breaks and NUL included.
func DecodeWords(s string) string {
	if len(s) > maxWords || !strings.Contains(s, "=?") {
		return s
	}
	var out strings.Builder
	left := endsOf(s)
	var run word // adjacent words of one charset: some programs divide characters between them
	blanks := "" // behind it
	flush := func() {
		if run.charset != "" {
			out.WriteString(run.text())
		}
		out.WriteString(blanks)
		run, blanks = word{}, ""
	}
	for s != "" {
		w, n := nextWord(s, left)
		if n > 0 {
			blanks = "" // those between encoded words do not count (RFC 2047 section 6.2)
			if run.charset != w.charset {
				flush()
			}
			run.charset, run.bytes = w.charset, append(run.bytes, w.bytes...)
			s = s[n:]
			continue
		}
		text := upToWord(s)
		if run.charset != "" && strings.TrimLeft(text, " \t\r\n") == "" {
			blanks += text
		} else {
			flush()
			out.WriteString(text)
		}
		s = s[len(text):]
	}
	flush()
	return out.String()
}

// upToWord is the beginning of s up to where the next encoded word may begin.
func upToWord(s string) string {
	skip := 0
	if strings.HasPrefix(s, "=?") {
		skip = 2
	}
	if n := strings.Index(s[skip:], "=?"); n >= 0 {
		return s[:skip+n]
	}
	return s
}

// A word is an encoded word, decoded but for its charset.
type word struct {
	charset string // lower case; never empty
	bytes   []byte
}

func (w word) text() string { return ToUTF8(w.charset, string(w.bytes)) }

// ends tell how much of a text is left at most where no encoded word ends any more, and where no
// blank follows. To look for them behind each of thousands of beginnings would take quadratic time.
type ends struct{ word, blank int }

func endsOf(s string) ends {
	return ends{len(s) - strings.LastIndex(s, "?="), len(s) - strings.LastIndexAny(s, " \t\r\n")}
}

// nextWord reads the encoded word that s begins with, and tells its length; 0 if there is none. S is
// the rest of a text with those ends.
func nextWord(s string, left ends) (word, int) {
	rest, ok := strings.CutPrefix(s, "=?")
	end := strings.IndexByte(rest[:min(len(rest), maxCharset)], '?')
	if !ok || end < 0 || len(rest) < end+3 || rest[end+2] != '?' {
		return word{}, 0
	}
	charset, _, _ := strings.Cut(rest[:end], "*") // a language may follow (RFC 2231 section 5)
	how, text := rest[end+1]|0x20, rest[end+3:]
	if how != 'b' && how != 'q' || charset == "" {
		return word{}, 0
	}
	n, size := -1, len("?=")
	if len(text) >= left.word {
		n = strings.Index(text, "?=")
	}
	if n < 0 && len(text) < left.blank { // some clients do not ask for its end
		n, size = len(strings.TrimRight(text, "?")), 0
	}
	if n < 0 {
		return word{}, 0
	}
	w := word{charset: strings.ToLower(charset)}
	if how == 'b' {
		var d base64Decoder
		w.bytes = d.finish(d.decode(nil, []byte(text[:n])))
	} else {
		w.bytes = decodeQ(text[:n])
	}
	return w, len(s) - len(text) + n + size
}

// joinWords makes one encoded word of adjacent ones of the same charset and encoding: some clients
// decode them together, so that an escape or a group may be divided between them.
func joinWords(s string) string {
	if len(s) > maxWords || !strings.Contains(s, "?=") {
		return s
	}
	var out strings.Builder
	head, from := "", 0 // of the encoded word that we are in, "=?utf-8?q?", and what is not written yet
	for at := 0; ; {
		i := strings.Index(s[at:], "=?")
		if i < 0 {
			break
		}
		at += i
		next := wordHead(s[at:])
		if next == "" {
			at++
			continue
		}
		text, ok := strings.CutSuffix(strings.TrimRight(s[from:at], " \t\r\n"), "?=")
		if ok && strings.EqualFold(next, head) {
			out.WriteString(text)
			from = at + len(next)
		} else {
			out.WriteString(s[from:at])
			from = at
		}
		head = next
		at += len(next)
	}
	return out.String() + s[from:]
}

// wordHead is the beginning of an encoded word up to its text; empty if s does not begin with one.
func wordHead(s string) string {
	rest, ok := strings.CutPrefix(s, "=?")
	end := strings.IndexAny(rest[:min(len(rest), maxCharset)], "?= \t\r\n")
	if !ok || end <= 0 || len(rest) < end+3 || rest[end] != '?' || rest[end+2] != '?' {
		return ""
	}
	return s[:len("=?")+end+3]
}

// decodeQ decodes the "Q" encoding (RFC 2047 section 4.2).
func decodeQ(s string) []byte {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '_':
			b = append(b, ' ')
		case s[i] == '=' && i+2 < len(s) && unhex[s[i+1]]|unhex[s[i+2]] < 16:
			b = append(b, unhex[s[i+1]]<<4|unhex[s[i+2]])
			i += 2
		default:
			b = append(b, s[i])
		}
	}
	return b
}
