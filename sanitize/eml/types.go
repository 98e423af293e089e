package eml

import "slices"

// Types are the words that Part.Type may hold: what the content is by its own bytes, whatever
// its label says. Each word belongs to groups, which policies use too: part.is("executable")
// holds for "pe" as for "elf".
var Types = map[string][]string{
	"pe": {"executable"}, "dos": {"executable"}, "elf": {"executable"}, "macho": {"executable"},
	"java-class": {"executable"}, "dex": {"executable"}, "wasm": {"executable"}, "script": {"executable", "text"},
	"lnk": {"executable"}, "registry": {"executable", "text"}, "chm": {"executable", "container"}, "hlp": {"executable"}, "batch": {"executable", "text"},

	"zip": {"container", "archive"}, "gzip": {"container", "archive"}, "bzip2": {"container", "archive"},
	"xz": {"container", "archive"}, "lzma": {"container", "archive"}, "zstd": {"container", "archive"},
	"lz4": {"container", "archive"}, "lzip": {"container", "archive"}, "7z": {"container", "archive"},
	"rar": {"container", "archive"}, "tar": {"container", "archive"}, "cpio": {"container", "archive"},
	"ar": {"container", "archive"}, "rpm": {"container", "archive"}, "cab": {"container", "archive"},
	"arj": {"container", "archive"}, "lha": {"container", "archive"}, "ace": {"container", "archive"},
	"zoo": {"container", "archive"}, "compress": {"container", "archive"}, "snappy": {"container", "archive"}, "szdd": {"container", "archive"}, "kwaj": {"container", "archive"}, "xar": {"container", "archive"},
	"iso": {"container", "image-of-disk"}, "vhd": {"container", "image-of-disk"}, "vhdx": {"container", "image-of-disk"},
	"udf": {"container", "image-of-disk"}, "dmg": {"container", "image-of-disk"}, "wim": {"container", "image-of-disk"},
	"img": {"container", "image-of-disk"}, "vmdk": {"container", "image-of-disk"}, "qcow": {"container", "image-of-disk"},
	"tnef": {"container"}, "applesingle": {"container"}, "appledouble": {"container"},
	"binhex": {"container", "text"}, "uuencode": {"container", "text"}, "yenc": {"container"}, "mail": {"container", "text"},

	"ole": {"container", "document"}, "rtf": {"container", "document", "text"}, "pdf": {"container", "document"},
	"onenote": {"container", "document"}, "activemime": {"container", "document"}, "postscript": {"document", "text"},

	"html": {"text", "active"}, "svg": {"text", "active", "image"}, "xml": {"text"},
	"text": {"text"}, "calendar": {"text"}, "vcard": {"text"}, "empty": {"text"},

	"png": {"image"}, "jpeg": {"image"}, "gif": {"image"}, "bmp": {"image"}, "webp": {"image"},
	"tiff": {"image"}, "ico": {"image"}, "emf": {"image"}, "psd": {"image"}, "heif": {"image"},
	"mp3": {"media"}, "mp4": {"media"}, "ogg": {"media"}, "riff": {"media"}, "flac": {"media"}, "matroska": {"media"}, "asf": {"media"},
	"flash": {"active"}, "font": {}, "pgp": {"container"}, "pkcs7": {"container"}, "data": {},
}

// Is reports whether the content is of that type or group of types.
func (p *Part) Is(word string) bool { return TypeIs(p.Type, word) }

// TypeIs reports whether a type is that type or of that group of types.
func TypeIs(typ, word string) bool { return typ == word || slices.Contains(Types[typ], word) }

// Path are the types of what the part is in, the outermost first, and its own: "zip", "iso", "pe" is a
// program in an image of a disk in an archive. Only what Depth counts is in it, so multiparts are not;
// a message that was parsed in place is "mail".
func (p *Part) Path() []string {
	var path []string
	if p.Type != "" {
		path = append(path, p.Type)
	}
	for ; p.Parent != nil; p = p.Parent {
		switch {
		case p.Depth == p.Parent.Depth:
		case p.Parent.Type != "":
			path = append(path, p.Parent.Type)
		default:
			path = append(path, "mail")
		}
	}
	slices.Reverse(path)
	return path
}
