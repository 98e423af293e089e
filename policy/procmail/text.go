package procmail

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"
)

// maxFile is how large a file may be.
const maxFile = 1 << 20

// ReadFile reads a file of at most 1 MiB. It must be a regular one: a pipe would be waited for.
func ReadFile(name string) (File, error) {
	info, err := os.Stat(name)
	if err != nil {
		return File{}, err
	}
	if !info.Mode().IsRegular() {
		return File{}, fmt.Errorf("%s is no regular file", name)
	}
	f, err := os.Open(name)
	if err != nil {
		return File{}, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return File{}, fmt.Errorf("read %s: %w", name, err)
	}
	if len(data) > maxFile {
		return File{}, fmt.Errorf("%s: %w of %d bytes", name, ErrSize, maxFile)
	}
	return File{Name: name, Data: data}, nil
}

// ErrSize says that a file is larger than the limit.
var ErrSize = errors.New("the file is larger than the limit")

// plainText gives a file as text with "\n" at line ends. What is not in UTF-8 is taken for
// ISO 8859-1, in which such files were written. It reports false if it holds a NUL.
func plainText(data []byte) (string, bool) {
	s := strings.ReplaceAll(string(data), "\r\n", "\n")
	if !utf8.ValidString(s) {
		runes := make([]rune, 0, len(s))
		for i := range len(s) {
			runes = append(runes, rune(s[i]))
		}
		s = string(runes)
	}
	return strings.TrimPrefix(s, "\ufeff"), !strings.Contains(s, "\x00")
}
