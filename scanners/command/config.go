package command

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"rastel/sanitize/eml"
)

// Config is one program that examines content, one file at a time.
type Config struct {
	// Name is what findings and the log call the engine: letters, digits, ".", "-" and "_".
	Name string `yaml:"name"`
	// Argv is the program, by its whole path, and its arguments. No shell reads them. "{file}" stands
	// for the path of a file with the content, which can only be read from the program itself; where
	// it is in no argument, the program reads the content from its standard input.
	Argv []string `yaml:"argv"`
	// Infected and Clean are the exit statuses that say what the content is. All others are errors.
	Infected []int `yaml:"infected"`
	Clean    []int `yaml:"clean"`
	// Unreadable are exit statuses that say that the content cannot be examined, today or tomorrow,
	// such as for what is encrypted or damaged. Default: none.
	Unreadable []int `yaml:"unreadable"`
	// Pattern finds the name of what was found in what the program writes to its standard output or
	// standard error: the first group in parentheses, or all that it matches. Where it matches, the
	// content is not clean, whatever the exit status says.
	Pattern string `yaml:"pattern"`
	// Types are the types of content, or groups of them, that the program is given. Default: all.
	Types []string `yaml:"types"`
	// Members says whether the program is given what comes out of containers too. Default true.
	Members *bool `yaml:"members"`
	// SizeMax is the largest content in bytes that the program is given; what is larger is reported as
	// command/limit. The default is 100 MiB.
	SizeMax int64 `yaml:"size_max"`
	// Timeout is how long one scan may take, waiting for its turn included; then the program is killed.
	// Default 60s.
	Timeout time.Duration `yaml:"timeout"`
	// Concurrency is how many of the program run at a time, first come first served. The default is the
	// number of processors.
	Concurrency int `yaml:"concurrency"`
	// Memory is how many bytes of address space the program may have, and CPUTime how long it may
	// compute (setrlimit(2), RLIMIT_AS and RLIMIT_CPU). Default: as much as rastel itself.
	Memory  int64         `yaml:"memory"`
	CPUTime time.Duration `yaml:"cpu_time"`
	// Version is a program and its arguments that write what the engine and its database are; exit
	// status 0 is success. Without it nothing that the engine says is kept for later.
	Version []string `yaml:"version"`
	// VersionEvery is how often that is asked. It bounds how long something is kept after the engine has
	// a new database. Default 2m.
	VersionEvery time.Duration `yaml:"version_every"`
}

const (
	defaultSizeMax      = 100 << 20
	defaultTimeout      = 60 * time.Second
	defaultVersionEvery = 2 * time.Minute

	// placeholder stands for the path of the content in Argv.
	placeholder = "{file}"
	// filePath is the path of the content for the program: its first descriptor after the usual three.
	filePath = "/proc/self/fd/3"

	maxConcurrency = 1024
	maxCommands    = 16
	maxArgs        = 200
	// minMemory is less than any program starts with.
	minMemory = 1 << 20
)

func (c Config) withDefaults() Config {
	if c.Members == nil {
		yes := true
		c.Members = &yes
	}
	if c.SizeMax == 0 {
		c.SizeMax = defaultSizeMax
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if c.Concurrency == 0 {
		c.Concurrency = runtime.GOMAXPROCS(0)
	}
	if c.VersionEvery == 0 {
		c.VersionEvery = defaultVersionEvery
	}
	return c
}

var namePattern = regexp.MustCompile(`^[A-Za-z0-9._-]{1,60}$`)

// Validate reports the first setting that makes no sense, by its name in the file.
func (c Config) Validate() error {
	if !namePattern.MatchString(c.Name) {
		return fmt.Errorf("name: %q is not of letters, digits, \".\", \"-\" and \"_\"", c.Name)
	}
	if err := validateArgv(c.Argv); err != nil {
		return fmt.Errorf("argv: %w", err)
	}
	if err := c.validateStatuses(); err != nil {
		return err
	}
	if re, err := regexp.Compile(c.Pattern); err != nil {
		return fmt.Errorf("pattern: %w", err)
	} else if c.Pattern != "" && re.MatchString("") {
		return errors.New("pattern: it matches where nothing is")
	}
	for _, word := range c.Types {
		if !knownType(word) {
			return fmt.Errorf("types: %q is no type of content and no group of types", word)
		}
	}
	if len(c.Version) > 0 {
		if err := validateArgv(c.Version); err != nil {
			return fmt.Errorf("version: %w", err)
		}
	}
	return c.validateNumbers()
}

func (c Config) validateNumbers() error {
	for _, f := range []struct {
		name  string
		value int64
	}{
		{"size_max", c.SizeMax}, {"timeout", int64(c.Timeout)}, {"concurrency", int64(c.Concurrency)},
		{"memory", c.Memory}, {"cpu_time", int64(c.CPUTime)}, {"version_every", int64(c.VersionEvery)},
	} {
		if f.value < 0 {
			return fmt.Errorf("%s: must not be negative", f.name)
		}
	}
	if c.Concurrency > maxConcurrency {
		return fmt.Errorf("concurrency: more than %d", maxConcurrency)
	}
	if c.Memory != 0 && c.Memory < minMemory {
		return fmt.Errorf("memory: less than %d", minMemory)
	}
	if c.CPUTime != 0 && c.CPUTime < time.Second {
		return errors.New("cpu_time: less than a second")
	}
	return nil
}

func validateArgv(argv []string) error {
	if len(argv) == 0 {
		return errors.New("there is none")
	}
	if len(argv) > maxArgs {
		return fmt.Errorf("more than %d arguments", maxArgs)
	}
	if !filepath.IsAbs(argv[0]) {
		return fmt.Errorf("%q: a program needs its whole path", argv[0])
	}
	for _, a := range argv {
		if strings.ContainsRune(a, 0) {
			return fmt.Errorf("%q: an argument cannot hold NUL", a)
		}
	}
	return nil
}

// validateStatuses sees that each exit status says one thing, and that the program can say both things.
func (c Config) validateStatuses() error {
	seen := map[int]string{}
	for _, list := range []struct {
		name   string
		status []int
	}{{"infected", c.Infected}, {"clean", c.Clean}, {"unreadable", c.Unreadable}} {
		if len(list.status) == 0 && list.name != "unreadable" {
			return fmt.Errorf("%s: which exit statuses say so?", list.name)
		}
		for _, n := range list.status {
			if n < 0 || n > 255 {
				return fmt.Errorf("%s: %d is no exit status", list.name, n)
			}
			if other, ok := seen[n]; ok {
				return fmt.Errorf("%s: %d is in %s already", list.name, n, other)
			}
			seen[n] = list.name
		}
	}
	return nil
}

func knownType(word string) bool {
	if _, ok := eml.Types[word]; ok {
		return true
	}
	for groups := range maps.Values(eml.Types) {
		if slices.Contains(groups, word) {
			return true
		}
	}
	return false
}

// ValidateAll is Validate for all programs.
func ValidateAll(list []Config) error {
	if len(list) > maxCommands {
		return fmt.Errorf("commands: more than %d", maxCommands)
	}
	for i, c := range list {
		if err := c.Validate(); err != nil {
			return fmt.Errorf("commands[%d].%w", i, err)
		}
	}
	return nil
}
