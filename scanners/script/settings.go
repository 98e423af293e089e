package script

import (
	"bytes"
	"fmt"
	"strings"
)

// A setting is an XML file that Windows acts on.
type setting struct{ check, detail string }

// settingFiles are kinds of them: what marks one, and the elements that say what is started or whom it
// contacts.
var settingFiles = []struct {
	mark, check, is string
	elements        []string
	server          bool // only what is on a server matters
}{
	{"schemas.microsoft.com/windows/2004/02/mit/task", task, "a scheduled task: starts", []string{"command", "arguments"}, false},
	{"schemas.microsoft.com/search/2013/settingcontent", task, "a setting with a command: starts", []string{"deeplink"}, false},
	{"schemas.microsoft.com/windows/2009/library", shortcut, "a library: shows", []string{"url"}, false},
	{"schemas.microsoft.com/windows/2009/searchconnector", shortcut, "a search connector: shows", []string{"url", "imageurl", "iconreference"}, false},
	{"<mmc_consolefile", task, "a management console: names", []string{"string"}, false},
	{"<persistedquery", shortcut, "a saved search: asks", []string{"path"}, true},
}

// settings tells what the XML that begins so makes Windows do; nil if it is no such file.
func settings(head []byte) *setting {
	low := make([]byte, len(head)) // of the same length: bytes.ToLower makes more of what is not UTF-8
	for i, c := range head {
		low[i] = lower(c)
	}
	for _, f := range settingFiles {
		if !bytes.Contains(low, []byte(f.mark)) {
			continue
		}
		var found []string
		for _, e := range f.elements {
			texts := elementTexts(head, low, e)
			if f.server {
				texts = append(texts, attributes(head, low, e)...)
			}
			for _, v := range texts {
				if len(found) < maxDeeds && (!f.server || isServer(v)) {
					found = append(found, short(v))
				}
			}
		}
		if len(found) == 0 {
			return nil
		}
		return &setting{f.check, fmt.Sprintf("%s %s", f.is, strings.Join(found, " "))}
	}
	return nil
}

// attributes are the values of attributes of that name; low is text in lower case.
func attributes(text, low []byte, name string) (out []string) {
	for at := 0; len(out) < maxDeeds; {
		i := bytes.Index(low[at:], []byte(name+`="`))
		if i < 0 {
			return out
		}
		at += i + len(name) + len(`="`)
		end := bytes.IndexByte(text[at:], '"')
		if end < 0 {
			return out
		}
		out = append(out, string(text[at:at+end]))
		at += end
	}
	return out
}

// elementTexts are the contents of elements of that name, whatever their prefix; low is text in lower
// case.
func elementTexts(text, low []byte, name string) (out []string) {
	for at := 0; len(out) < maxDeeds; {
		i := bytes.Index(low[at:], []byte(name))
		if i < 0 {
			return out
		}
		start := at + i
		at = start + len(name)
		end := bytes.IndexByte(low[at:], '>')
		if end < 0 {
			return out
		}
		if !opensElement(low[:start]) || end > 0 && low[at] != ' ' && low[at] != '\n' && low[at] != '\r' && low[at] != '\t' {
			continue
		}
		from := at + end + 1
		to := bytes.Index(low[from:], []byte("</"))
		if to < 0 {
			to = len(low) - from
		}
		if v := strings.TrimSpace(string(text[from : from+to])); v != "" {
			out = append(out, v)
		}
		at = from + to
	}
	return out
}

// opensElement reports whether what comes next is the name of an element, behind "<" and maybe a
// prefix.
func opensElement(before []byte) bool {
	for i := len(before) - 1; i >= 0 && len(before)-i < maxWord; i-- {
		if before[i] == '<' {
			return i == len(before)-1 || before[len(before)-1] == ':'
		}
		if c := before[i]; classes[c]&inWord == 0 && c != ':' {
			return false
		}
	}
	return false
}
