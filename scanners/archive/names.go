package archive

import (
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
)

const (
	// maxName is how many bytes of a name are kept, counted from its end: a longer one cannot
	// be the name of a file anywhere, and what it opens with is told by its end.
	maxName = 4 << 10
	// maxNames is how many names of one member are kept.
	maxNames = 16
)

// A nameSet collects the names under which programs show one member. Names are as the archive
// has them, "../" and all: they are judged, and never used as paths.
type nameSet []string

func (s *nameSet) add(name string) {
	name = clip(name)
	if name != "" && len(*s) < maxNames && !slices.Contains(*s, name) {
		*s = append(*s, name)
	}
}

// clip cuts what is kept of a name.
func clip[T string | []byte](name T) T { return name[max(len(name)-maxName, 0):] }

// addRaw adds what programs make of the bytes of a name. Without a declared character set some
// take them for UTF-8 and some for that of MS-DOS (APPNOTE.TXT appendix D); and some stop at a
// NUL.
func (s *nameSet) addRaw(raw string, isUTF8 bool) {
	if utf8.ValidString(raw) {
		s.add(raw)
	}
	if dos, err := charmap.CodePage437.NewDecoder().String(raw); err == nil && !isUTF8 {
		s.add(dos)
	}
	s.add(raw)
	if before, _, ok := strings.Cut(raw, "\x00"); ok {
		s.add(before)
	}
}

// suffixes are what programs take off the name of a compressed file to name what is in it, and
// what they put there instead.
var suffixes = []struct{ old, new string }{
	{".tgz", ".tar"}, {".taz", ".tar"}, {".tbz", ".tar"}, {".tbz2", ".tar"}, {".tb2", ".tar"}, {".txz", ".tar"}, {".tlz", ".tar"},
	{".tzst", ".tar"}, {".gz", ""}, {".z", ""}, {".bz2", ""}, {".bz", ""}, {".xz", ""}, {".lzma", ""}, {".lz", ""}, {".zst", ""}, {".lz4", ""}, {".br", ""}, {".sz", ""}, {".zz", ""}, {".zlib", ""},
}

// innerNames are the names of what a compressed file holds: its own without the suffix.
func innerNames(outer []string) (names nameSet) {
	for _, name := range outer {
		names.add(withoutSuffix(name))
	}
	return names
}

func withoutSuffix(name string) string {
	name = strings.TrimRight(name, " .") // as Windows does
	for _, s := range suffixes {
		if n := len(name) - len(s.old); n > 0 && strings.EqualFold(name[n:], s.old) {
			return name[:n] + s.new
		}
	}
	return name
}

// volumeName matches the names that programs give to further volumes of archives which have no
// signature of their own: name.7z.002, name.z01.
var volumeName = regexp.MustCompile(`(?i)\.(?:(?:7z|zip|rar|tar|gz|tgz|bz2|xz|iso)\.[0-9]{2,3}|z[0-9]{2})[ .]*$`)

// namesVolume reports whether one of the names is that of a further volume.
func namesVolume(names []string) bool { return slices.ContainsFunc(names, volumeName.MatchString) }
