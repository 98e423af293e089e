// Package archive opens archives and compressed files, one layer at a time: what it yields goes
// back to all scanners, this one included, until the budget of the message is used up.
//
// An archive is an argument between programs: what one of them shows, another does not see.
// So the formats are told by their bytes and never by a name, all members that some program
// would show are yielded, and what could not be looked into is a finding.
package archive

import (
	"context"
	"errors"
	"fmt"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

const (
	defaultDictionary = 64 << 20
	minDictionary     = 1 << 20
	maxDictionary     = 1 << 30
	defaultSearch     = 8 << 20
)

// Config of an Expander. The zero value is usable.
type Config struct {
	// Dictionary is the largest dictionary in bytes that a decoder may allocate. Archives that
	// want more are reported with archive/limit and not opened. Default 64 MiB, which is also
	// the most that .xz gets.
	Dictionary int64 `yaml:"dictionary"`

	// Search is how many bytes at the beginning of a file of another type are searched for an
	// archive that begins further in, such as behind the program of a self-extracting archive.
	// Default 8 MiB, where programs give up too.
	Search int64 `yaml:"search"`
}

// Validate reports what is wrong with the configuration.
func (c Config) Validate() error {
	if c.Dictionary != 0 && (c.Dictionary < minDictionary || c.Dictionary > maxDictionary) {
		return fmt.Errorf("dictionary: %d is not between %d and %d", c.Dictionary, minDictionary, maxDictionary)
	}
	if c.Search < 0 {
		return errors.New("search: must not be negative")
	}
	return nil
}

func (c Config) withDefaults() Config {
	if c.Dictionary == 0 {
		c.Dictionary = defaultDictionary
	}
	if c.Search == 0 {
		c.Search = defaultSearch
	}
	return c
}

// An Expander opens archives and compressed files. It is safe for concurrent use.
//
// Decoders run in the goroutine of the caller. They end soon after the context does because
// what they read from and what they write to then fails; a panic in one of them is a finding.
type Expander struct{ cfg Config }

var _ scanners.Expander = (*Expander)(nil)

// New makes an Expander.
func New(cfg Config) *Expander { return &Expander{cfg: cfg.withDefaults()} }

// The checks of this package. All but those in examined mean that something was not seen.
const (
	encrypted   = "archive/encrypted"
	unsupported = "archive/unsupported"
	damaged     = "archive/damaged"
	multivolume = "archive/multivolume"
	ambiguous   = "archive/ambiguous"
	limit       = "archive/limit"
)

// examined are the checks for what was seen wholly.
var examined = map[string]bool{ambiguous: true, inMessage: true, known: true, listed: true}

// Checks are all checks that Expand may report.
func (*Expander) Checks() []eml.Check {
	return []eml.Check{
		{ID: encrypted, Doc: "An archive, or a member of one, is encrypted, no password was found, and it was not examined."},
		{ID: inMessage, Doc: "An archive is encrypted, and the message says its password: that keeps programs from looking into it, and nobody else. It was opened and examined."},
		{ID: known, Doc: "An archive is encrypted with a password that everybody knows, and the message does not say it. It was opened and examined."},
		{ID: listed, Doc: "An archive is encrypted with one of the passwords in the configuration. It was opened and examined."},
		{ID: unsupported, Doc: "An archive is of a format or uses a method that is not supported, and was not examined."},
		{ID: damaged, Doc: "An archive is damaged and was not examined, or not to its end."},
		{ID: multivolume, Doc: "An archive is one of several volumes and was not examined, or not to its end."},
		{ID: ambiguous, Doc: "Programs see different members in an archive; all that are known of were examined."},
		{ID: limit, Doc: "An archive asks for more than the limits of the decoders allow and was not examined, or not to its end."},
	}
}

// Scan finds nothing: all that is to be said about an archive is said by Expand.
func (*Expander) Scan(context.Context, *eml.Part) ([]eml.Finding, error) { return nil, nil }

// A format opens containers of one type whose content begins at byte 0 of the part.
type format func(*opening) error

// formatOf is the table of formats: how content of a type, a word of eml.Types, is opened; nil
// if it is not.
func formatOf(word string) format {
	switch word {
	case "zip":
		return openZip
	case "7z":
		return open7z
	case "rar":
		return openRAR
	case "tar":
		return openTar
	case "gzip":
		return openGzip
	case "bzip2":
		return openBzip2
	case "lzip":
		return openLzip
	case "lzma":
		return openLZMA
	case "xz":
		return openXZ
	case "zstd":
		return openZstd
	case "lz4":
		return openLZ4
	case "iso", "udf", "img", "vhd", "vhdx", "vmdk", "qcow", "dmg":
		return openDisk
	case "snappy":
		return openSnappy
	case "compress":
		return openCompress
	case "cpio":
		return openCpio
	case "ar":
		return openAr
	case "rpm":
		return openRPM
	case "lha":
		return openLHA
	case "arj":
		return openARJ
	case "flash":
		return openFlash
	case "cab":
		return openCab
	case "chm":
		return openCHM
	case "xar":
		return openXAR
	case "wim":
		return openWIM
	case "szdd":
		return openSZDD
	case "kwaj":
		return openKWAJ
	}
	return nil
}

// Expand yields the members of p as scanners.Expander says: of what its type says it is, and
// of archives that other programs find in it.
func (e *Expander) Expand(ctx context.Context, p *eml.Part, b *scanners.Budget, yield func(*eml.Part) error) ([]eml.Finding, error) {
	o := newOpening(ctx, e.cfg, p, b, yield)
	err := o.typed()
	if err == nil {
		err = o.embedded()
	}
	if err == nil {
		err = o.disguised()
	}
	return o.findings, err
}

// typed opens p as what it is by its type.
func (o *opening) typed() error {
	word := o.p.Type
	if word == "data" {
		word = o.behindSkippable()
	}
	if open := formatOf(word); open != nil {
		return open(o)
	}
	switch {
	case o.p.Is("archive"), o.p.Is("image-of-disk"):
		o.report(o.p, unsupported, o.p.Type+" is not opened")
	case o.p.Type == "data" && o.isLZMA():
		return openLZMA(o)
	case o.p.Type == "data" && o.isZlib():
		return openZlib(o)
	case saysBrotli(o.p.Names, o.p.MediaType):
		return openBrotli(o)
	case o.p.Type == "data" && unopened(o.p.Head(16)) != "":
		o.report(o.p, unsupported, unopened(o.p.Head(16))+" is not opened")
	case o.p.Type == "data" && namesVolume(o.p.Names):
		o.report(o.p, multivolume, "a further volume of a split archive, by its name")
	}
	return nil
}
