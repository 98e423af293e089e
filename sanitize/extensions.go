package sanitize

import "strings"

// executables maps each extension that a desktop runs at a double click to what such a file is.
// Not in it is what a desktop only opens for the user to look at (archives, disk images,
// documents, source code), and what no desktop runs by itself (dll, sys, lib).
var executables = entriesOf("desktop")

// dangerous are the extensions that a safe name does not end in.
var dangerous = entriesOf("desktop", "core", "second", "page", "macro", "disk-image")

// refused are those of them for which the declared type does not stay either.
var refused = entriesOf("desktop", "core", "second")

// programTypes are media types by which a client runs a file, whatever its name.
var programTypes = entriesOf("program-type")

// documents are extensions that people take for something to read, so that one before an
// executable extension ("invoice.pdf.exe") is there to deceive.
var documents = set(`pdf doc docx docm dot dotx rtf odt xls xlsx xlsm xlsb ods csv ppt pptx pps ppsx odp txt log md htm html
	xml eml msg one pub vsd jpg jpeg png gif bmp tif tiff webp heic svg mp3 mp4 wav avi mov mpg mpeg mkv wmv
	zip rar 7z gz tgz tar ics vcf`)

func set(words string) map[string]bool {
	m := map[string]bool{}
	for w := range strings.FieldsSeq(words) {
		m[w] = true
	}
	return m
}
