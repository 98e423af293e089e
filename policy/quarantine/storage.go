package quarantine

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// EncryptionConfig says whether messages are sealed before they are stored. The index is not: it has the
// envelope, the subject and the findings.
type EncryptionConfig struct {
	// KeyFile has a key on each line, of 64 hexadecimal digits. The first seals, all open: to change keys put
	// the new one before the old, restart, run 'rastel quarantine rekey', and take the old one out. Whoever
	// loses the file loses the messages. Mode 600 or 640. Default: none, messages are not sealed.
	KeyFile string `yaml:"key_file"`
}

// S3Config says in which bucket messages are stored instead of a directory. Bucket and Endpoint must be set.
type S3Config struct {
	// Endpoint is the URL of the server. http is for tests and for servers on this host.
	Endpoint string `yaml:"endpoint"`
	// Bucket must be there, and for this program alone below Prefix. Versions and rules that expire objects
	// should be off: rastel removes what it needs no more.
	Bucket string `yaml:"bucket"`
	// Prefix comes before the names of all objects, such as "rastel/". Default: none.
	Prefix string `yaml:"prefix"`
	// Region is what requests are signed for. Default: us-east-1, which most servers take.
	Region string `yaml:"region"`
	// PathStyle has the bucket in the path rather than in the name of the host.
	PathStyle bool `yaml:"path_style"`
	// CredentialsFile has two lines, the access key and the secret key. Mode 600 or 640. Default: the
	// environment, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.
	CredentialsFile string `yaml:"credentials_file"`
	// CAFile has the certificates, in PEM, that the server's is to be signed with. Default: those of the
	// system.
	CAFile string `yaml:"ca_file"`
	// Timeout is how long one request may take, the tries of it together. Default: 20s. At most 5m.
	Timeout time.Duration `yaml:"timeout"`
}

const maxS3Timeout = 5 * time.Minute

// Enabled reports whether messages are in a bucket.
func (c S3Config) Enabled() bool { return c != S3Config{} }

func (c S3Config) validate() error {
	if !c.Enabled() {
		return nil
	}
	u, err := url.Parse(c.Endpoint)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || strings.Trim(u.Path, "/") != "" || u.User != nil || u.RawQuery != "":
		return fmt.Errorf("quarantine.s3.endpoint: %q is not such as https://s3.example.org:9000", c.Endpoint)
	case c.Bucket == "" || strings.Contains(c.Bucket, "/"):
		return fmt.Errorf("quarantine.s3.bucket: %q is no name of a bucket", c.Bucket)
	case c.Timeout < 0 || c.Timeout > maxS3Timeout:
		return fmt.Errorf("quarantine.s3.timeout: %v is not from 0 to %v", c.Timeout, maxS3Timeout)
	case strings.HasPrefix(c.Prefix, "/") || strings.ContainsFunc(c.Prefix, func(r rune) bool { return r <= ' ' || r > '~' }):
		return errors.New("quarantine.s3.prefix: it must be of ASCII letters, digits and the like, without a slash at its beginning")
	}
	return nil
}
