package scanners

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"rastel/sanitize/eml"
)

// maxARC is how many sets of fields a chain may have (RFC 8617 section 4.2.1).
const maxARC = 50

// arcFields are those that each set has one of (RFC 8617 section 4.1).
var arcFields = []string{"ARC-Seal", "ARC-Message-Signature", "ARC-Authentication-Results"}

// ScanMessage tells whether the message has a chain of ARC signatures, and of what form.
func (Crypto) ScanMessage(_ context.Context, m *eml.Message) ([]eml.Finding, error) {
	h := &m.Root.Header
	sets, fields, last := 0, 0, ""
	for f := range h.All(arcFields[0]) {
		v := h.Value(f)
		if n, err := strconv.Atoi(tagOf(v, "i")); err == nil && n > sets && n <= maxARC {
			sets, last = n, tagOf(v, "cv")
		}
	}
	for _, name := range arcFields {
		fields += h.Count(name)
	}
	if fields == 0 {
		return nil, nil
	}
	detail := "the chain is broken"
	if sets > 0 && isARC(h, sets) {
		detail = fmt.Sprintf("sets %d, cv=%.10s, not verified", sets, last)
	}
	return []eml.Finding{{Check: signedARC, Part: m.Root, Detail: detail}}, nil
}

// isARC reports whether there are so many sets, each whole, and each but the first says that those
// before it were good (RFC 8617 section 5.2).
func isARC(h *eml.Header, sets int) bool {
	for _, name := range arcFields {
		var seen [maxARC + 1]bool
		if h.Count(name) != sets {
			return false
		}
		for f := range h.All(name) {
			v := h.Value(f)
			n, err := strconv.Atoi(tagOf(v, "i"))
			if err != nil || n < 1 || n > sets || seen[n] {
				return false
			}
			seen[n] = true
			want := "pass"
			if n == 1 {
				want = "none"
			}
			if name == arcFields[0] && tagOf(v, "cv") != want {
				return false
			}
		}
	}
	return true
}

// tagOf is the value of a tag in a list (RFC 6376 section 3.2); empty if there is none.
func tagOf(list, tag string) string {
	for item := range strings.SplitSeq(list, ";") {
		if name, value, ok := strings.Cut(item, "="); ok && strings.TrimSpace(name) == tag {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
