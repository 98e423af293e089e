package sanitize

import (
	"errors"
	"io"
	"slices"
	"strings"

	"rastel/sanitize/eml"
)

// putAnew puts the banners into what is written anew, unless it begins with them.
func (t *bannerTarget) putAnew(edits []eml.Edit) ([]eml.Edit, error) {
	prefix, err := bodyPrefix(t.p)
	if err != nil {
		return nil, err
	}
	begin := func(top string) func(io.Writer) error { return textWriter(t.p, top) }
	if t.html {
		begin = func(top string) func(io.Writer) error { write, _ := cleanWriter(t.p, top); return write }
	}
	head := &headWriter{limit: maxBannerHead}
	if err := begin("")(head); err != nil && !errors.Is(err, errHead) {
		return nil, err
	}
	top, seen := "", string(head.b)
	if t.html {
		_, seen, _ = strings.Cut(seen, "<body")
		_, seen, _ = strings.Cut(seen, ">") // in values it is escaped
	}
	form := cleanBanner
	if !t.html {
		form = plainBanner
	}
	t.head = []byte(seen)
	there, _ := t.there(0, func(s string) ([]byte, bool) { return []byte(form(s)), true })
	for _, s := range t.texts {
		if !there[s] {
			top += form(s)
		}
	}
	for _, s := range t.told {
		top += form(s)
	}
	edits = slices.Clone(edits)
	edits[t.anew].Write = inQP(prefix, begin(top))
	return edits, nil
}

// cleanBanner is the clean form of a banner as HTML.
func cleanBanner(s string) string {
	var b strings.Builder
	_ = writeClean(&b, strings.NewReader(htmlBanner(s)), nil, "utf-8", "") // neither of them fails
	_, out, _ := strings.Cut(b.String(), "<body>")
	return strings.TrimSuffix(out, "</body></html>\n")
}

// errHead ends what writes to a headWriter.
var errHead = errors.New("enough")

// A headWriter keeps the beginning of what is written to it.
type headWriter struct {
	b     []byte
	limit int
}

func (h *headWriter) Write(p []byte) (int, error) {
	h.b = append(h.b, p[:min(len(p), h.limit-len(h.b))]...)
	if len(h.b) == h.limit {
		return 0, errHead
	}
	return len(p), nil
}
