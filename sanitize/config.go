// Package sanitize looks for what is unsafe to open in a message, and makes the edits that
// defang it: attachment names, declared and real types, active HTML, damaged header fields.
// Its scanners change nothing; their findings carry the edits, and policy decides.
package sanitize

import (
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
	// NameLength is the longest file name in bytes that is not reported. Default 255, which
	// is as long as file systems allow.
	NameLength int `yaml:"name_length"`
	// Executable are extensions to treat as executable besides the built-in ones, without dot.
	Executable []string `yaml:"executable"`
	// Notices are what readers are told.
	Notices NoticeConfig `yaml:"notices"`
	// Harmless are built-in extensions that are not to be treated as executable.
	Harmless []string `yaml:"harmless"`
}

const (
	defaultHTMLSize   = 256 << 20
	maxHTMLSize       = 1 << 30 // offsets in a page are int32
	defaultNameLength = 255
)

// Validate reports all that is wrong with the configuration.
func (c Config) Validate() error {
	var errs []error
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
