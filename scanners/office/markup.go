package office

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
)

// An element is one of a part that is changed.
type element struct {
	name  string // without its prefix
	attrs []xml.Attr
	raw   string // its tag, as it stands
}

// get gives the value of an attribute, whatever its namespace; empty if there is none.
func (e *element) get(name string) string {
	for _, a := range e.attrs {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// with is the tag of the element with another value of an attribute that it has.
func (e *element) with(name, value string) (string, error) {
	t := e.raw
	for i := 0; i < len(t); i++ {
		key, rest, ok := strings.Cut(t[i:], "=")
		if !ok {
			break
		}
		at := i + len(key) + 1
		at += len(rest) - len(strings.TrimLeft(rest, blanks))
		if at >= len(t) {
			break
		}
		end := strings.IndexByte(t[at+1:], t[at])
		if end < 0 {
			break
		}
		end += at + 1
		fields := strings.Fields(key)
		if len(fields) > 0 && fields[len(fields)-1] == name {
			var b bytes.Buffer
			if err := xml.EscapeText(&b, []byte(value)); err != nil {
				return "", err
			}
			return t[:at] + `"` + b.String() + `"` + t[end+1:], nil
		}
		i = end
	}
	return "", fmt.Errorf("%w: an element without %s", errPackage, name)
}

// errMarkup says that XML is not as office programs write it.
var errMarkup = errors.New("its XML is not well-formed, or not in UTF-8")

// rewrite gives XML with what change says in the place of the elements: an element with all that is in it
// is left out, or its tag is another. All else stays as it is.
func rewrite(content []byte, change func(*element) (tag string, drop bool, err error)) ([]byte, error) {
	d := xml.NewDecoder(bytes.NewReader(content))
	d.CharsetReader = func(label string, in io.Reader) (io.Reader, error) {
		if strings.EqualFold(label, "us-ascii") {
			return in, nil
		}
		return nil, errMarkup
	}
	var out []byte
	kept, dropping := int64(0), 0 // up to where content is in out; how deep we are in what is left out
	for {
		start := d.InputOffset()
		t, err := d.Token()
		if err == io.EOF {
			return append(out, content[kept:]...), nil
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %.100s", errMarkup, err.Error())
		}
		switch t := t.(type) {
		case xml.Directive:
			return nil, fmt.Errorf("%w: definitions", errMarkup)
		case xml.EndElement:
			if dropping > 0 {
				if dropping--; dropping == 0 {
					kept = d.InputOffset()
				}
			}
		case xml.StartElement:
			if dropping > 0 {
				dropping++
				continue
			}
			e := &element{name: t.Name.Local, attrs: t.Attr, raw: string(content[start:d.InputOffset()])}
			tag, drop, err := change(e)
			if err != nil {
				return nil, err
			}
			if drop {
				dropping = 1
			}
			if drop || tag != "" {
				out = append(append(out, content[kept:start]...), tag...)
				kept = d.InputOffset()
			}
		}
	}
}
