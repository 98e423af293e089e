package scanners

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// maxSecret is the size of a file that holds a secret, at most.
const maxSecret = 4096

// ReadSecret reads a key or a password from a file of its own: text, without blanks and line breaks at
// its ends. It is an error if everybody may read the file, or others than its owner may write it.
func ReadSecret(name string) (string, error) {
	secret, err := ReadSecrets(name)
	if err != nil {
		return "", err
	}
	if strings.ContainsFunc(secret, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", fmt.Errorf("%s: is not one line of text", name)
	}
	return secret, nil
}

// ReadSecrets is ReadSecret for a file of several lines.
func ReadSecrets(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s: is no file", name)
	}
	if mode := info.Mode().Perm(); mode&0o027 != 0 {
		return "", fmt.Errorf("%s: its mode %#o lets others read or change it; chmod 600 or 640", name, mode)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	secrets := strings.TrimSpace(string(b))
	switch {
	case len(b) > maxSecret:
		return "", fmt.Errorf("%s: has more than %d bytes", name, maxSecret)
	case secrets == "":
		return "", fmt.Errorf("%s: is empty", name)
	}
	return secrets, nil
}
