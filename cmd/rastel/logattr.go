package main

import (
	"log/slog"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxLogValue is how many bytes of one value are logged. The stack of a crash is longer.
const maxLogValue = 2000

// tidyAttr keeps log lines short, and free of characters that play tricks on whoever reads them:
// an error may quote what a sender or another server has written, and the JSON handler passes on
// what changes the direction of text or drives a terminal.
func tidyAttr(_ []string, a slog.Attr) slog.Attr {
	var text string
	switch v := a.Value.Resolve(); v.Kind() {
	case slog.KindString:
		text = v.String()
	case slog.KindAny:
		err, ok := v.Any().(error)
		if !ok {
			return a
		}
		text = err.Error()
	default:
		return a
	}
	if a.Key == "stack" {
		return a
	}
	return slog.String(a.Key, tidy(text))
}

// tidy cuts a text to maxLogValue and escapes what is not printable.
func tidy(s string) string {
	cut := ""
	if len(s) > maxLogValue {
		s, cut = s[:maxLogValue], "..."
	}
	if utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return s + cut
	}
	q := strconv.Quote(s)
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`) + cut
}
