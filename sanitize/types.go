package sanitize

import (
	"context"
	"fmt"
	"strings"

	"rastel/sanitize/eml"
)

// Types compares what a part is by its own bytes with what its label and its names promise. Its
// findings have no fix: there is no harmless form of a program.
type Types struct{}

var typeChecks = []eml.Check{
	{ID: "type/executable", Doc: "The content is that of a program, whatever its label says."},
	{ID: "type/mismatch", Doc: "The label promises something harmless, and the content is something else that is not."},
}

// Checks are those that Scan may report.
func (Types) Checks() []eml.Check { return typeChecks }

// Scan looks at the type that eml told from the content.
func (Types) Scan(_ context.Context, p *eml.Part) ([]eml.Finding, error) {
	var out []eml.Finding
	if p.Is("executable") && !shownAsText(p) {
		out = append(out, eml.Finding{Check: "type/executable", Part: p, Detail: "content is " + p.Type})
	}
	if label := falseLabel(p); label != "" {
		out = append(out, eml.Finding{Check: "type/mismatch", Part: p, Detail: fmt.Sprintf("labelled %.100q, content is %s", label, p.Type)})
	}
	return out, nil
}

// shownAsText reports whether clients show the part as text and offer nothing to open: it is
// text, declared as plain text exactly once, and has no name. A patch to a shell script in the
// body of a message is no program.
func shownAsText(p *eml.Part) bool {
	return p.Is("text") && len(p.Names) == 0 && isPlainText(p)
}

// isPlainText reports whether a part is declared as plain text and nothing else.
func isPlainText(p *eml.Part) bool {
	return p.MediaType == "text/plain" && !p.Member() && p.Header.Count("Content-Type") == 1
}

// A family is what labels promise: a kind of file that is opened with one kind of program.
type family string

// admitted tells for each family which risky content it is honest about, in words of eml.Types.
var admitted = map[family][]string{
	"image": nil,
	"media": nil,
	"pdf":   nil,
	// What is text is shown as text, and judged as a program by type/executable.
	"text": {"text"},
	// Old Office files may be anything that Office opens: programs export HTML as .xls.
	"office":  {"zip", "html"},
	"opendoc": {"zip"},
	"archive": {"archive", "image-of-disk"},
	"html":    {"html", "svg", "gzip"}, // .svgz
	"program": {"executable", "zip"},
}

// risky are the groups and types of content that a false label hides.
var risky = []string{"executable", "archive", "image-of-disk", "html", "svg", "flash"}

// falseLabel is the label that promises something harmless of risky content; empty if there is
// none, or if another label tells the truth, for by that the part is judged anyway.
func falseLabel(p *eml.Part) string {
	if !isAny(p, risky) {
		return ""
	}
	label := ""
	for i := -1; i < len(p.Names); i++ {
		l, f := p.MediaType, mediaFamily(p.MediaType)
		if i >= 0 {
			l, f = p.Names[i], nameFamily(p.Names[i])
		}
		switch {
		case f == "":
		case isAny(p, admitted[f]):
			return ""
		case label == "":
			label = l
		}
	}
	return label
}

func isAny(p *eml.Part, words []string) bool {
	for _, w := range words {
		if p.Is(w) {
			return true
		}
	}
	return false
}

// mediaFamilies are the beginnings of media types; the first that fits counts.
var mediaFamilies = []struct {
	prefix string
	family family
}{
	{"image/svg", "html"}, {"image/x-emz", ""}, {"image/x-wmz", ""}, // those two are gzip
	{"image/", "image"}, {"audio/", "media"}, {"video/", "media"},
	{"text/html", "html"}, {"application/xhtml", "html"}, {"text/plain", "text"}, {"text/csv", "text"}, {"text/calendar", "text"},
	{"application/pdf", "pdf"}, {"application/x-pdf", "pdf"},
	{"application/msword", "office"}, {"application/vnd.ms-excel", "office"}, {"application/vnd.ms-powerpoint", "office"},
	{"application/rtf", "office"}, {"text/rtf", "office"},
	{"application/vnd.openxmlformats", "opendoc"}, {"application/vnd.oasis.opendocument", "opendoc"},
	{"application/zip", "archive"}, {"application/x-zip", "archive"}, {"application/gzip", "archive"}, {"application/x-gzip", "archive"},
	{"application/x-7z", "archive"}, {"application/x-rar", "archive"}, {"application/vnd.rar", "archive"}, {"application/x-tar", "archive"},
	{"application/x-bzip", "archive"}, {"application/x-xz", "archive"}, {"application/zstd", "archive"},
	{"application/x-iso9660", "archive"}, {"application/vnd.ms-cab", "archive"},
}

func mediaFamily(media string) family {
	for _, m := range mediaFamilies {
		if strings.HasPrefix(media, m.prefix) {
			return m.family
		}
	}
	if programTypes[media] != "" {
		return "program"
	}
	return ""
}

// nameFamilies maps an extension to its family.
var nameFamilies = func() map[string]family {
	m := map[string]family{}
	for f, extensions := range map[family]string{
		"image":   "jpg jpeg jpe png gif bmp tif tiff webp heic heif ico",
		"media":   "mp3 mp4 m4a m4v wav ogg flac avi mov mpg mpeg mkv wmv wma webm",
		"pdf":     "pdf",
		"text":    "txt csv log ics",
		"office":  "doc dot xls xlt ppt pps rtf",
		"opendoc": "docx docm dotx xlsx xlsm xlsb xltx pptx pptm ppsx odt ods odp odg",
		"archive": "zip gz tgz bz2 tbz xz txz zst 7z rar tar lz lz4 cab arj lzh lha ace cpio iso img vhd vhdx dmg wim",
	} {
		for ext := range strings.FieldsSeq(extensions) {
			m[ext] = f
		}
	}
	for ext := range executables {
		m[ext] = "program"
	}
	for ext := range htmlExtensions {
		m[ext] = "html"
	}
	return m
}()

// nameFamily is the family that the end of a name promises; of several readings the first counts.
func nameFamily(name string) family {
	for _, f := range forms(name) {
		if fam := nameFamilies[extension(f)]; fam != "" {
			return fam
		}
	}
	return ""
}
