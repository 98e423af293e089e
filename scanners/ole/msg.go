package ole

// Messages that Outlook has written to a file (MS-OXMSG): .msg files, whatever they are called.

import (
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/unicode"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

// isMessageLabel reports whether clients take the part for a message of Outlook by its label.
func isMessageLabel(p *eml.Part) bool {
	return p.MediaType == "application/vnd.ms-outlook" || slices.ContainsFunc(p.Names, func(n string) bool {
		ext := strings.ToLower(path.Ext(n))
		return ext == ".msg" || ext == ".oft" // templates
	})
}

// The names of streams and storages (MS-OXMSG 2).
const (
	propertyStream   = "__properties_version1.0"
	propertyPrefix   = "__substg1.0_"
	attachmentPrefix = "__attach_version1.0_"
)

// Properties (MS-OXPROPS), and the types of them that have streams.
const (
	propBody          = 0x1000
	propRTF           = 0x1009
	propHTML          = 0x1013
	propDisplayName   = 0x3001
	propAttachData    = 0x3701
	propExtension     = 0x3703
	propAttachName    = 0x3704
	propAttachLong    = 0x3707
	propAttachPath    = 0x3708
	propTransportName = 0x370c
	propAttachLongPth = 0x370d
	propMIMETag       = 0x370e

	typeString8 = 0x001e
	typeUnicode = 0x001f
)

const (
	// maxMessages is how many messages may lie in one another within one file.
	maxMessages = 16
	// maxText is how many bytes of a name are looked at.
	maxText = 4 << 10
	// maxMediaType is how many of a media type.
	maxMediaType = 100
)

// property takes the name of a stream apart: __substg1.0_37010102 is property 0x3701 of type 0x0102.
func property(n *node) (id, kind uint16, ok bool) {
	digits, ok := cutPrefixFold(n.name, propertyPrefix)
	if !ok || len(digits) < 8 {
		return 0, 0, false
	}
	v, err := strconv.ParseUint(digits[:8], 16, 32)
	return uint16(v >> 16), uint16(v), err == nil
}

func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return "", false
	}
	return s[len(prefix):], true
}

// message yields what is in a message.
func (f *file) message(n *node, depth int) error {
	if depth >= maxMessages {
		f.damaged("too many messages in one another")
		return nil
	}
	for _, child := range n.children {
		var err error
		if _, ok := cutPrefixFold(child.name, attachmentPrefix); ok && child.storage {
			err = f.attachment(child, depth)
		} else if id, kind, ok := property(child); ok && !child.storage {
			err = f.body(child, id, kind)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// body yields one of the forms of the text.
func (f *file) body(n *node, id, kind uint16) error {
	r := f.c.content(n)
	switch id {
	case propBody:
		return f.member(nil, "text/plain", text(r, kind))
	case propHTML:
		return f.member(nil, "text/html", text(r, kind))
	case propRTF:
		rtf, isDamaged := scanners.DecompressRTF(r)
		if err := f.member(nil, "text/rtf", rtf); err != nil {
			return err
		}
		if isDamaged() {
			f.damaged("the RTF is damaged")
		}
	}
	return nil
}

// text gives text as UTF-8 if it is in UTF-16. Any other stays as it is.
func text(r io.Reader, kind uint16) io.Reader {
	if kind != typeUnicode {
		return r
	}
	return unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM).NewDecoder().Reader(r)
}

// An attachment is what is known of one.
type attachment struct {
	names     []string
	shown     string // where there is no other name
	extension string
	mediaType string
	contents  []*node
}

// attachment yields an attachment; without content for its names.
func (f *file) attachment(n *node, depth int) error {
	var a attachment
	for _, child := range n.children {
		id, kind, ok := property(child)
		if !ok {
			continue
		}
		switch id {
		case propAttachName, propAttachLong, propAttachPath, propAttachLongPth, propTransportName:
			a.add(f.string(child, kind))
		case propDisplayName:
			a.shown = f.string(child, kind)
		case propExtension:
			a.extension = f.string(child, kind)
		case propMIMETag:
			a.mediaType = strings.ToLower(f.string(child, kind))
			a.mediaType = a.mediaType[:min(len(a.mediaType), maxMediaType)]
		case propAttachData:
			a.contents = append(a.contents, child)
		}
	}
	a.complete()
	if len(a.contents) == 0 && len(a.names) > 0 {
		return f.member(a.names, a.mediaType, strings.NewReader(""))
	}
	for _, content := range a.contents {
		var err error
		switch {
		case !content.storage:
			err = f.member(a.names, a.mediaType, f.c.content(content))
		case content.find(propertyStream) != nil:
			err = f.message(content, depth+1)
		default:
			err = f.walk(content, a.names)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (a *attachment) add(name string) {
	if name != "" && !slices.Contains(a.names, name) {
		a.names = append(a.names, name)
	}
}

// complete adds the names that a client makes up: what is shown, and the name with the extension
// that the attachment is said to have.
func (a *attachment) complete() {
	if len(a.names) == 0 {
		a.add(a.shown)
	}
	ext := "." + strings.TrimLeft(a.extension, ".")
	if ext == "." {
		return
	}
	for _, n := range slices.Clone(a.names) {
		if !strings.EqualFold(path.Ext(n), ext) {
			a.add(n + ext)
		}
	}
}

// string is a text property, without the zeros at its end. What is not UTF-8 is taken for Latin-1:
// of a name the extension, which matters, comes out right.
func (f *file) string(n *node, kind uint16) string {
	b, err := io.ReadAll(io.LimitReader(text(f.c.content(n), kind), maxText))
	if err != nil {
		f.damaged(fmt.Sprintf("a property: %v", err))
	}
	s := strings.TrimRight(string(b), "\x00")
	if utf8.ValidString(s) {
		return s
	}
	var out strings.Builder
	for i := range len(s) {
		out.WriteRune(rune(s[i]))
	}
	return out.String()
}
