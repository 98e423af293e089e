package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"rastel/cmd/rastel/api"
	"rastel/milter"
	"rastel/policy"
	"rastel/policy/engine"
	"rastel/policy/quarantine"
	"rastel/sanitize"
	"rastel/sanitize/eml"
	"rastel/scanners"
	"rastel/scanners/cache"
	"rastel/scanners/clamd"
	programs "rastel/scanners/command"
	"rastel/scanners/dkim"
	"rastel/scanners/dmarc"
	"rastel/scanners/hashlist"
	"rastel/scanners/icap"
	"rastel/scanners/network"
	"rastel/scanners/virustotal"
	"rastel/scanners/worker"
)

// Config is rastel.yaml. Every package owns its part of it, with its defaults.
type Config struct {
	// StateDir is where everything that must survive a restart is kept. Default:
	// /var/lib/rastel for root, else .local/state/rastel in the home directory.
	StateDir string `yaml:"state_dir"`
	// SpoolDir is where large messages are kept while they are examined, in files without a
	// name. Default: the directory for temporary files.
	SpoolDir string `yaml:"spool_dir"`
	// Policy is the file with the rules. Default: the policy that is built in.
	Policy string `yaml:"policy"`
	// Workers is how many processes open containers. Default: for serve as many as there are
	// processors, for other commands 0, which means that they are opened by the command itself.
	Workers *int `yaml:"workers"`

	// Passwords are tried on archives and documents that are encrypted, besides the words of the message
	// and what everybody knows: those that correspondents have agreed on.
	Passwords []string `yaml:"passwords"`

	// Trusted are the networks and addresses of relays of our own: what their Received fields say of
	// where a message comes from is believed. Default: none.
	Trusted []string `yaml:"trusted"`

	// EvidenceField puts a field X-Rastel-Evidence into what is delivered, with the reference of the message, the
	// verdict, its rule and what was found. Default: no.
	EvidenceField bool `yaml:"evidence_field"`

	Milter     milter.Config       `yaml:"milter"`
	Sanitize   sanitize.Config     `yaml:"sanitize"`
	API        api.Config          `yaml:"api"`
	Clamd      *clamd.Config       `yaml:"clamd"` // nil: used if one is found at its usual sockets
	ICAP       []icap.Config       `yaml:"icap"`
	Commands   []programs.Config   `yaml:"commands"`
	Cache      cache.Config        `yaml:"cache"` // of what engines such as clamd said
	Hashes     hashlist.Config     `yaml:"hashes"`
	VirusTotal virustotal.Config   `yaml:"virustotal"` // asked only if it has a key
	DKIM       dkim.Config         `yaml:"dkim"`
	DMARC      dmarc.Config        `yaml:"dmarc"`
	DNS        network.Config      `yaml:"dns"`
	Quarantine quarantine.Config   `yaml:"quarantine"`
	Samples    engine.SampleConfig `yaml:"samples"` // of delivered mail, to try policies on
	Notify     engine.NotifyConfig `yaml:"notify"`
	Limits     LimitsConfig        `yaml:"limits"`
	Log        LogConfig           `yaml:"log"`

	notices *sanitize.Notices // made of Sanitize.Notices
	pool    *eml.SpoolPool    // of SpoolDir and Limits.SpoolMemory
	relays  network.Relays    // made of Trusted
	tested  bool              // the policy's own tests are run before it is put in force
}

// LimitsConfig bounds what one message may cost. Zero means the default.
type LimitsConfig struct {
	MIMEDepth       int   `yaml:"mime_depth"`       // entities in one another; default 32
	MIMEParts       int   `yaml:"mime_parts"`       // entities in a message; default 2000
	HeaderBytes     int64 `yaml:"header_bytes"`     // bytes of one header; default 262144
	HeaderFields    int   `yaml:"header_fields"`    // fields of one header; default 1000
	FieldParameters int   `yaml:"field_parameters"` // parameters of one field; default 100
	PartNames       int   `yaml:"part_names"`       // names of one part; default 100
	ExpandedBytes   int64 `yaml:"expanded_bytes"`   // what all containers expand to; default 300000000
	ExpandedMembers int   `yaml:"expanded_members"` // members of all containers; default 10000
	ExpandedDepth   int   `yaml:"expanded_depth"`   // containers in one another; default 16
	ExpandedRatio   int64 `yaml:"expanded_ratio"`   // expanded to packed bytes, after the first 10 MB; default 250

	ExpandedTime  time.Duration `yaml:"expanded_time"`  // what all containers may take; default 1m
	ContainerTime time.Duration `yaml:"container_time"` // what one container may take; default 30s
	PasswordTime  time.Duration `yaml:"password_time"`  // how long passwords are tried for all containers; default 10s
	WorkerMemory  int64         `yaml:"worker_memory"`  // bytes of memory of one worker; default 268435456
	SpoolMemory   int64         `yaml:"spool_memory"`   // bytes of messages and parts kept in memory, of all messages; default 33554432
}

// LogConfig says what is logged, and how. The log goes to standard error.
type LogConfig struct {
	Level  string `yaml:"level"`  // debug, info (default), warn or error
	Format string `yaml:"format"` // text (default) or json
}

// loadConfig reads a configuration file; an empty name gives the defaults. Errors name file,
// line and what is wrong.
func loadConfig(name string) (*Config, error) {
	var c Config
	if name != "" {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		if err := decodeStrict(name, data, &c); err != nil {
			return nil, err
		}
	}
	c.setDefaults()
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", nameOr(name, "configuration"), err)
	}
	return &c, nil
}

func nameOr(name, other string) string {
	if name == "" {
		return other
	}
	return name
}

func (c *Config) setDefaults() {
	if c.StateDir == "" {
		c.StateDir = defaultStateDir()
	}
	if c.Quarantine.Dir == "" {
		c.Quarantine.Dir = filepath.Join(c.StateDir, "quarantine")
	}
	if c.API.Socket == "" {
		c.API.Socket = filepath.Join(c.StateDir, "rastel.sock")
	}
}

// defaultStateDir is what systemd gives, or where programs keep such things.
func defaultStateDir() string {
	if dir := os.Getenv("STATE_DIRECTORY"); dir != "" {
		return dir
	}
	if os.Geteuid() == 0 {
		return "/var/lib/rastel"
	}
	if dir := os.Getenv("XDG_STATE_HOME"); dir != "" {
		return filepath.Join(dir, "rastel")
	}
	return filepath.Join(os.Getenv("HOME"), ".local/state/rastel")
}

func (c *Config) validate() error {
	var err error
	if c.notices, err = sanitize.NewNotices(c.Sanitize.Notices); err != nil {
		err = fmt.Errorf("sanitize: %w", err)
	}
	c.pool = eml.NewSpoolPool(c.SpoolDir, c.Limits.SpoolMemory)
	var relaysErr error
	c.relays, relaysErr = network.ParseRelays(c.Trusted)
	errs := []error{err, relaysErr, c.DNS.Validate(), c.validateDMARC(), c.Milter.Validate(), c.API.Validate(), c.Quarantine.Validate(), c.Samples.Validate(), c.Notify.Validate(), c.Sanitize.Validate(), c.DKIM.Validate(), c.Cache.Validate(), c.Hashes.Validate(), c.validateEngines(), c.VirusTotal.Validate(), c.Log.validate(), c.validateWorkers(), scanners.ValidatePasswords(c.Passwords)}
	if c.Clamd != nil {
		errs = append(errs, c.Clamd.Validate())
	}
	return errors.Join(errs...)
}

// validateDMARC also sees that DMARC is not without DKIM: then good mail would fail it.
func (c *Config) validateDMARC() error {
	if c.DMARC.Enabled && c.DKIM.Enabled != nil && !*c.DKIM.Enabled {
		return errors.New("dmarc.enabled: DMARC needs DKIM, and dkim.enabled is false")
	}
	return c.DMARC.Validate()
}

// maxWorkers is more than any machine has use for.
const maxWorkers = 1024

func (c *Config) validateWorkers() error {
	if c.Workers != nil && (*c.Workers < 0 || *c.Workers > maxWorkers) {
		return fmt.Errorf("workers: %d is not between 0 and %d", *c.Workers, maxWorkers)
	}
	if m := c.Limits.WorkerMemory; m != 0 && m < worker.MinMemory {
		return fmt.Errorf("limits.worker_memory: %d is less than %d", m, worker.MinMemory)
	}
	return nil
}

func (c LogConfig) validate() error {
	if c.Level != "" {
		var l slog.Level
		if err := l.UnmarshalText([]byte(c.Level)); err != nil {
			return fmt.Errorf("log.level: %q is none of debug, info, warn, error", c.Level)
		}
	}
	if c.Format != "" && c.Format != "text" && c.Format != "json" {
		return fmt.Errorf("log.format: %q is neither text nor json", c.Format)
	}
	return nil
}

func newLogger(c LogConfig, w io.Writer) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.Level)) // validated; the zero level is info
	opt := &slog.HandlerOptions{Level: level, ReplaceAttr: tidyAttr}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, opt))
	}
	return slog.New(slog.NewTextHandler(w, opt))
}

func (c *Config) spool() eml.SpoolOptions { return eml.SpoolOptions{Dir: c.SpoolDir, Pool: c.pool} }

func (c *Config) mimeLimits() eml.Limits {
	l := c.Limits
	return eml.Limits{Depth: l.MIMEDepth, Parts: l.MIMEParts, Header: l.HeaderBytes, Fields: l.HeaderFields, Params: l.FieldParameters, Names: l.PartNames, Spool: c.spool()}
}

func (c *Config) budget() scanners.BudgetLimits {
	l := c.Limits
	return scanners.BudgetLimits{Bytes: l.ExpandedBytes, Members: l.ExpandedMembers, Depth: l.ExpandedDepth, Ratio: l.ExpandedRatio,
		Time: l.ExpandedTime, ContainerTime: l.ContainerTime, PasswordTime: l.PasswordTime}
}

// decodeStrict decodes YAML and refuses unknown keys. Its errors are one line: file, line,
// column, what is wrong, and the key that was probably meant.
func decodeStrict(name string, data []byte, v any) error {
	err := yaml.UnmarshalWithOptions(data, v, yaml.Strict())
	var unknown *yaml.UnknownFieldError
	if errors.As(err, &unknown) {
		key := strings.Trim(strings.TrimPrefix(unknown.Message, "unknown field "), `"`)
		return fmt.Errorf("%s:%s: unknown key %q%s", name, position(err), key, didYouMean(key, yamlKeys(v)))
	}
	var e yaml.Error
	if errors.As(err, &e) {
		return fmt.Errorf("%s:%s: %s", name, position(err), strings.ReplaceAll(e.GetMessage(), "\n", " "))
	}
	if err != nil && !errors.Is(err, io.EOF) { // an empty file is no error
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// didYouMean is a hint at the known word that was probably meant, if there is one.
func didYouMean(word string, known []string) string {
	if near := policy.Nearest(word, known); near != "" {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	return ""
}

// yamlKeys are all keys of a configuration and of what is in it.
func yamlKeys(v any) []string {
	var keys []string
	var walk func(t reflect.Type)
	walk = func(t reflect.Type) {
		for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
			t = t.Elem()
		}
		if t.Kind() != reflect.Struct {
			return
		}
		for i := range t.NumField() {
			if key, ok := t.Field(i).Tag.Lookup("yaml"); ok {
				keys = append(keys, key)
				walk(t.Field(i).Type)
			}
		}
	}
	walk(reflect.TypeOf(v))
	return keys
}

// position is "line:column" of a YAML error, as far as it is known.
func position(err error) string {
	var e yaml.Error
	if errors.As(err, &e) {
		if t := e.GetToken(); t != nil && t.Position != nil {
			return fmt.Sprintf("%d:%d", t.Position.Line, t.Position.Column)
		}
	}
	return "1:1"
}
