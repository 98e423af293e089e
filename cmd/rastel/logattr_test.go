package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"unicode"
)

// TestLogLinesAreTidy: whatever a message or another server makes an error say, a line of the log
// is one line, and plays no tricks.
func TestLogLinesAreTidy(t *testing.T) {
	hostile := "a\r\nlevel=ERROR msg=forged \x1b[2J \u202egpj.exe \u2028 \x00 \xff \u0085 100%s " + strings.Repeat("x", 1<<20)
	for _, format := range []string{"text", "json"} {
		var out bytes.Buffer
		log := newLogger(LogConfig{Level: "info", Format: format}, &out)
		log.Info("m", "error", errors.New(hostile), "rule", hostile)
		line, rest, _ := strings.Cut(out.String(), "\n")
		if rest != "" || len(line) > 4*maxLogValue {
			t.Errorf("%s: %d bytes, and behind the line %.100q", format, len(line), rest)
		}
		if i := strings.IndexFunc(line, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }); i >= 0 {
			t.Errorf("%s: %.50q in %.300q", format, line[i:], line)
		}
		if !strings.Contains(line, "100%s") {
			t.Errorf("%s: the text is lost: %.300q", format, line)
		}
	}
}
