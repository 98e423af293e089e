package virustotal

import (
	"fmt"
	"net/url"
	"path"
	"strings"
	"time"

	"rastel/sanitize/eml"
)

// Config says what VirusTotal is asked about. Without a key file it is not asked.
type Config struct {
	// KeyFile holds the API key.
	KeyFile string `yaml:"key_file"`
	// URL of the API, without the version. Default https://www.virustotal.com.
	URL string `yaml:"url"`
	// Malicious is how many of its engines must call the content malicious for virustotal/malware; fewer
	// make it virustotal/suspicious. Default 3: one or two are often wrong.
	Malicious int `yaml:"malicious"`
	// Types are the types of content that it is asked about, or groups of them, and Names the patterns of
	// file names besides. By default programs, scripts, documents, archives and images of disks. The hash
	// of what only two people have tells that it has been sent: so never texts and pictures.
	Types []string `yaml:"types"`
	Names []string `yaml:"names"`
	// Timeout is how long an answer may take, waiting for its turn included. Default 2s, at most 3s: mail
	// waits for it.
	Timeout time.Duration `yaml:"timeout"`
	// PerMinute and PerDay are how many questions the key may ask; days are those of UTC. Defaults 4 and
	// 500, which are those of a key that costs nothing.
	PerMinute int `yaml:"per_minute"`
	PerDay    int `yaml:"per_day"`
	// Known is how long an answer is kept, Unknown how long it is kept that there is none: what is new
	// today is known tomorrow. Defaults 24h and 1h.
	Known   time.Duration `yaml:"known"`
	Unknown time.Duration `yaml:"unknown"`
	// Required makes a part that VirusTotal could not be asked about one that was not examined. By
	// default it is an opinion beside the engines.
	Required bool `yaml:"required"`
	// Upload has content that VirusTotal does not know given to it, up to 32 MB. Everybody who pays for
	// that can read it then: think of whose mail it is. Default no.
	Upload bool `yaml:"upload"`

	// StateFile is where is noted how many questions were asked today; empty: nowhere.
	StateFile string `yaml:"-"`
	// SpoolDir is where content waits for its upload.
	SpoolDir string `yaml:"-"`
}

const (
	defaultURL       = "https://www.virustotal.com"
	defaultMalicious = 3
	defaultTimeout   = 2 * time.Second
	maxTimeout       = 3 * time.Second
	defaultPerMinute = 4
	defaultPerDay    = 500
	defaultKnown     = 24 * time.Hour
	defaultUnknown   = time.Hour
	maxAge           = 30 * 24 * time.Hour
)

// defaultTypes are words of eml.Types.
func defaultTypes() []string {
	return []string{"executable", "document", "archive", "image-of-disk"}
}

// defaultNames are those of scripts and of what else is opened by its name only.
func defaultNames() []string {
	return []string{"*.js", "*.jse", "*.vbs", "*.vbe", "*.wsf", "*.wsh", "*.hta", "*.ps1", "*.psm1", "*.bat", "*.cmd", "*.lnk", "*.jar", "*.url", "*.iqy", "*.slk", "*.settingcontent-ms"}
}

// On reports whether VirusTotal is asked.
func (c Config) On() bool { return c.KeyFile != "" }

func (c Config) withDefaults() Config {
	def := func(n *int, d int) {
		if *n == 0 {
			*n = d
		}
	}
	defTime := func(t *time.Duration, d time.Duration) {
		if *t == 0 {
			*t = d
		}
	}
	if c.URL == "" {
		c.URL = defaultURL
	}
	c.URL = strings.TrimSuffix(c.URL, "/")
	if c.Types == nil {
		c.Types = defaultTypes()
	}
	if c.Names == nil {
		c.Names = defaultNames()
	}
	def(&c.Malicious, defaultMalicious)
	def(&c.PerMinute, defaultPerMinute)
	def(&c.PerDay, defaultPerDay)
	defTime(&c.Timeout, defaultTimeout)
	defTime(&c.Known, defaultKnown)
	defTime(&c.Unknown, defaultUnknown)
	return c
}

// Validate reports the first setting that makes no sense, by its name in the file.
func (c Config) Validate() error {
	if err := c.validateURL(); err != nil {
		return err
	}
	for _, f := range []struct {
		name       string
		value, max int64
	}{
		{"malicious", int64(c.Malicious), 1000}, {"timeout", int64(c.Timeout), int64(maxTimeout)}, {"per_minute", int64(c.PerMinute), maxPerMinute},
		{"per_day", int64(c.PerDay), 1 << 40}, {"known", int64(c.Known), int64(maxAge)}, {"unknown", int64(c.Unknown), int64(maxAge)},
	} {
		if f.value < 0 || f.value > f.max {
			return fmt.Errorf("virustotal.%s: is not between 0 and %d", f.name, f.max)
		}
	}
	for _, word := range c.Types {
		if !isTypeWord(word) {
			return fmt.Errorf("virustotal.types: %q is neither a type nor a group of types", word)
		}
	}
	for _, pattern := range c.Names {
		if _, err := path.Match(pattern, ""); err != nil {
			return fmt.Errorf("virustotal.names: %q: %w", pattern, err)
		}
	}
	return nil
}

// validateURL wants https: the key is in each question. Tests and proxies of this machine may do without.
func (c Config) validateURL() error {
	if c.URL == "" {
		return nil
	}
	u, err := url.Parse(c.URL)
	if err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return fmt.Errorf("virustotal.url: %q is no address such as %s", c.URL, defaultURL)
	}
	host := u.Hostname()
	if u.Scheme != "https" && (u.Scheme != "http" || (host != "127.0.0.1" && host != "::1" && host != "localhost")) {
		return fmt.Errorf("virustotal.url: %q is not https", c.URL)
	}
	return nil
}

func isTypeWord(word string) bool {
	for typ := range eml.Types {
		if eml.TypeIs(typ, word) {
			return true
		}
	}
	return false
}
