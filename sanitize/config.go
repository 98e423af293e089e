// Package sanitize looks for what is unsafe to open in a message, and makes the edits that
// defang it: attachment names, declared and real types, active HTML, damaged header fields.
// Its scanners change nothing; their findings carry the edits, and policy decides.
package sanitize

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Config is what an administrator may set for the scanners of this package. The zero value
// means the defaults.
type Config struct {
	// HTMLSize is the largest HTML part that is examined, in bytes; a larger one is reported as
	// html/limit. It bounds the time that a message can take, not the memory. Default 256 MiB, at
	// most 1 GiB.
	HTMLSize int64 `yaml:"html_size"`
	// NameLength is the longest file name in characters that is not reported. Default 120, as the
	// Procmail Email Sanitizer had it.
	NameLength int `yaml:"name_length"`
	// Header are limits of header fields.
	Header HeaderConfig `yaml:"header"`
	// Executable are extensions to treat as executable besides the built-in ones, without dot.
	Executable []string `yaml:"executable"`
	// Notices are what readers are told.
	Notices NoticeConfig `yaml:"notices"`
	// Harmless are built-in extensions that are not to be treated as executable.
	Harmless []string `yaml:"harmless"`
}

// HeaderConfig are limits of header fields. Zero means the default. Those of the Procmail Email
// Sanitizer are in characters as they are shown, which encoded take up to 16 times as many bytes.
type HeaderConfig struct {
	// Subject is the longest Subject that is not reported, in characters. Default 250, as the
	// Sanitizer had it.
	Subject int `yaml:"subject"`
	// Field is the longest Date, From, Sender, Reply-To, Message-ID and the like, in characters.
	// Default 500, as the Sanitizer had it.
	Field int `yaml:"field"`
	// NullAddresses is how many times "<>" in an address field are reported. Default 6, as the
	// Sanitizer had it.
	NullAddresses int `yaml:"null_addresses"`
	// Parameter is the longest value of a parameter in a MIME field, other than names and
	// boundaries, in bytes. Default 500.
	Parameter int `yaml:"parameter"`
	// MIMEField is the longest MIME field, in bytes. Default 8000: a name in several forms takes that
	// much.
	MIMEField int `yaml:"mime_field"`
	// AuthservIDs are names of which Authentication-Results come from this filter only, so that
	// those that come in with a message are forged. Default none: other filters of the same host may
	// write them.
	AuthservIDs []string `yaml:"authserv_ids"`
}

const (
	defaultSubject       = 250
	defaultField         = 500
	defaultNullAddresses = 6
	defaultParameter     = 500
	defaultMIMEField     = 8000
)

func (c HeaderConfig) subject() int       { return cmp.Or(c.Subject, defaultSubject) }
func (c HeaderConfig) field() int         { return cmp.Or(c.Field, defaultField) }
func (c HeaderConfig) nullAddresses() int { return cmp.Or(c.NullAddresses, defaultNullAddresses) }
func (c HeaderConfig) parameter() int     { return cmp.Or(c.Parameter, defaultParameter) }
func (c HeaderConfig) mimeField() int     { return cmp.Or(c.MIMEField, defaultMIMEField) }

// The shortest limits that can be set: a fixed field must not be too long again.
const (
	minHeaderLimit = 40
	minNullLimit   = 1
)

func (c HeaderConfig) validate() (errs []error) {
	for _, l := range []struct {
		key        string
		value, low int
	}{
		{"subject", c.Subject, minHeaderLimit}, {"field", c.Field, minHeaderLimit}, {"null_addresses", c.NullAddresses, minNullLimit},
		{"parameter", c.Parameter, minHeaderLimit}, {"mime_field", c.MIMEField, 10 * minHeaderLimit},
	} {
		if l.value != 0 && l.value < l.low {
			errs = append(errs, fmt.Errorf("header.%s: %d is less than %d", l.key, l.value, l.low))
		}
	}
	return errs
}

const (
	defaultHTMLSize   = 256 << 20
	maxHTMLSize       = 1 << 30 // offsets in a page are int32
	defaultNameLength = 120
)

// Validate reports all that is wrong with the configuration.
func (c Config) Validate() error {
	errs := c.Header.validate()
	if c.HTMLSize < 0 || c.HTMLSize > maxHTMLSize {
		errs = append(errs, fmt.Errorf("html_size: %d is not between 0 and %d", c.HTMLSize, maxHTMLSize))
	}
	if c.NameLength < 0 {
		errs = append(errs, fmt.Errorf("name_length: %d is negative", c.NameLength))
	}
	for _, e := range slices.Concat(c.Executable, c.Harmless) {
		if e == "" || e != strings.ToLower(e) || strings.ContainsAny(e, "./\\ ") {
			errs = append(errs, fmt.Errorf("extension %q: want it in lower case, without dot and blanks", e))
		}
	}
	for _, e := range c.Harmless {
		if _, ok := executables[e]; !ok {
			errs = append(errs, fmt.Errorf("harmless: %q is none of the built-in extensions", e))
		}
	}
	return errors.Join(errs...)
}

func (c Config) htmlSize() int64 {
	if c.HTMLSize == 0 {
		return defaultHTMLSize
	}
	return c.HTMLSize
}

func (c Config) nameLength() int {
	if c.NameLength == 0 {
		return defaultNameLength
	}
	return c.NameLength
}

// executable tells why files with that extension are programs; empty if they are not.
func (c Config) executable(ext string) string {
	if slices.Contains(c.Executable, ext) {
		return "configured as executable"
	}
	if slices.Contains(c.Harmless, ext) {
		return ""
	}
	return executables[ext]
}
