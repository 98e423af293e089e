package e2e

import (
	"bytes"
	"strings"
	"testing"
)

// wantSame compares what was delivered with and without the filter, apart from the fields
// that the MTA itself adds, differently each time.
func wantSame(t *testing.T, with, without, sent []byte) {
	t.Helper()
	with, without = withoutTrace(with, sent), withoutTrace(without, sent)
	if !bytes.Equal(with, without) {
		t.Errorf("delivered with the filter\n%.3000q\nand without\n%.3000q", with, without)
	}
}

// withoutTrace takes off the Received field that the MTA put on top, and the fields that it
// adds where a message has none.
func withoutTrace(delivered, sent []byte) []byte {
	header, body := splitHeader(delivered)
	sentHeader, _ := splitHeader(sent)
	var out []byte
	for i, f := range fields(header) {
		name, _, _ := strings.Cut(strings.ToLower(f), ":")
		switch name = strings.TrimSpace(name); {
		case i == 0 && name == "received":
			continue
		case (name == "message-id" || name == "date" || name == "from") && !hasField(sentHeader, name):
			continue
		}
		out = append(out, f...)
	}
	return append(out, body...)
}

// splitHeader divides a message at its first empty line, which goes to the body.
func splitHeader(raw []byte) (header string, body []byte) {
	if bytes.HasPrefix(raw, []byte("\r\n")) {
		return "", raw
	}
	i := bytes.Index(raw, []byte("\r\n\r\n"))
	if i < 0 {
		return string(raw), nil
	}
	return string(raw[:i+2]), raw[i+2:]
}

// fields divides a header into its fields, continuation lines included.
func fields(header string) []string {
	var all []string
	for line := range strings.Lines(header) {
		if len(all) > 0 && (line[0] == ' ' || line[0] == '\t') {
			all[len(all)-1] += line
		} else {
			all = append(all, line)
		}
	}
	return all
}

func hasField(header, name string) bool {
	for _, f := range fields(header) {
		if n, _, ok := strings.Cut(f, ":"); ok && strings.EqualFold(strings.TrimSpace(n), name) {
			return true
		}
	}
	return false
}
