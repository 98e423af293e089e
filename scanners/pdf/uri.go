package pdf

import (
	"path"
	"slices"
	"strings"
	"unicode"
)

// isServer reports whether a name of a file or a URL is on a server of Windows, which is told who the user
// is by being asked.
func isServer(name string) bool {
	s := strings.ReplaceAll(strings.ToLower(strings.TrimSpace(name)), `\`, "/")
	if rest, ok := strings.CutPrefix(s, "file:"); ok {
		s = rest
		if strings.HasPrefix(s, "////") {
			s = s[2:]
		}
	} else if rest, ok := strings.CutPrefix(s, "smb:"); ok {
		s = rest
	}
	host, ok := strings.CutPrefix(s, "//")
	host, _, _ = strings.Cut(host, "/")
	return ok && host != "" && host != "." && host != "?" && host != "localhost" && host != "127.0.0.1"
}

// isDocument reports whether a file has a name of a document that other programs show and that starts
// nothing, or is a page of the web.
func isDocument(name string) bool {
	name = strings.ToLower(strings.TrimSpace(name))
	if strings.HasPrefix(name, "http://") || strings.HasPrefix(name, "https://") || strings.HasPrefix(name, "mailto:") {
		return uriKind(name) == ""
	}
	for _, ext := range []string{".exe", ".com", ".cmd", ".bat", ".scr", ".lnk", ".hta", ".js", ".vbs"} {
		if strings.Contains(name, ext) { // "cmd.exe /c a.pdf"
			return false
		}
	}
	if strings.HasSuffix(name, "/") || strings.HasSuffix(name, `\`) {
		return true // a folder
	}
	return slices.Contains(documents, strings.TrimPrefix(path.Ext(name), "."))
}

// documents are extensions of what programs show, hear or unpack, and what does nothing by itself.
var documents = strings.Fields("pdf txt csv rtf htm html xml json md log doc docx docm dot dotx xls xlsx xlsm ppt pptx pptm pps ppsx odt ods odp odg pub vsd vsdx mpp msg eml ics vcf " +
	"jpg jpeg png gif tif tiff bmp webp heic svg eps ps ai psd indd dwg dxf dwf step stp stl igs skp avi mpg mpeg mp3 mp4 m4a m4v mov wav wmv wma webm ogg flac mkv zip 7z rar tar gz epub")

// programs are extensions of what runs when it was downloaded and opened, or is mounted as a disk.
var programs = []string{"exe", "scr", "bat", "cmd", "pif", "msi", "msp", "msix", "msixbundle", "appx", "appinstaller", "application", "js", "jse", "vbs", "vbe", "wsf", "wsh",
	"hta", "ps1", "lnk", "url", "jar", "jnlp", "cpl", "dll", "xll", "iso", "img", "vhd", "vhdx", "reg", "chm", "apk", "dmg", "pkg", "sh", "scpt", "library-ms", "search-ms", "settingcontent-ms"}

// badURI says what is wrong with a URI; why is empty for one that leads to a page, or to nothing known.
func (o *opening) badURI(e *entry, v value) (uri, why string) {
	for _, s := range o.strings(e, v) {
		if why := uriKind(s); why != "" {
			return shorten(s), why
		}
	}
	return "", ""
}

// uriKind says what is wrong with a URI. What browsers leave out is left out.
func uriKind(s string) string {
	s = strings.ToLower(strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || unicode.IsControl(r) {
			return -1
		}
		return r
	}, s))
	scheme, rest, ok := strings.Cut(s, ":")
	switch {
	case strings.HasPrefix(s, `\\`):
		return "a file of a server"
	case !ok:
		return ""
	case scheme == "file" || scheme == "smb":
		if isServer(s) {
			return "a file of a server"
		}
		return "a file of the reader's own disk"
	case scheme == "javascript" || scheme == "vbscript" || scheme == "data":
		return "a script"
	case strings.HasPrefix(scheme, "ms-") || strings.HasPrefix(scheme, "search") || scheme == "shell" || scheme == "ldap" || scheme == "mhtml":
		return "a program of Windows"
	case scheme == "http" || scheme == "https" || scheme == "ftp" || scheme == "ftps":
		rest, _, _ = strings.Cut(rest, "#")
		rest, _, _ = strings.Cut(rest, "?")
		host, file, ok := strings.Cut(strings.TrimLeft(rest, "/"), "/")
		if ext := strings.TrimPrefix(path.Ext(file), "."); ok && host != "" && slices.Contains(programs, ext) {
			return "a program"
		}
	}
	return ""
}
