package ole

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"

	"rastel/sanitize/eml"
	"rastel/scanners"
	"rastel/scanners/office"
)

// The checks of compound files. Both mean that something was not seen.
const (
	damaged   = "ole/damaged"
	encrypted = "ole/encrypted"
)

var (
	damagedCheck   = eml.Check{ID: damaged, Doc: "A compound file (.msg, .doc, .xls, .ppt, .msi), or an object in a document, is damaged and was not examined, or not to its end."}
	encryptedCheck = eml.Check{ID: encrypted, Doc: "An Office document that opens with a password only and was not examined."}
)

// maxFindings is how many findings about one file are kept.
const maxFindings = 20

// An output is where one call of Expand leaves what it found in a part.
type output struct {
	ctx   context.Context //nolint:containedctx // lives as long as one call of Expand
	p     *eml.Part
	b     *scanners.Budget
	yield func(*eml.Part) error

	index    int // of the last member
	findings []eml.Finding
}

// isExamined tells the checks that do not mean that something was not seen.
func isExamined(check string) bool {
	return examined[check] || strings.HasPrefix(check, "office/") && check != office.MacroHidden
}

// report adds a finding, once.
func (o *output) report(check, detail string) {
	told := func(f eml.Finding) bool { return f.Check == check && f.Detail == detail }
	if len(o.findings) < maxFindings && !slices.ContainsFunc(o.findings, told) {
		o.findings = append(o.findings, eml.Finding{Check: check, Part: o.p, Detail: detail, Unexamined: !isExamined(check)})
	}
}

// member yields what r gives as a member of that name and type. It tells what is wrong with the
// content (bad), of which the member has what came before; err ends the expansion.
func (o *output) member(names []string, mediaType string, r io.Reader) (bad, err error) {
	o.index++
	part, bad := o.b.Member(o.ctx, o.p, o.index, names, r)
	if part == nil {
		return nil, bad
	}
	part.MediaType = mediaType
	return bad, o.yield(part)
}

// read gives a reader of r for what is looked at without becoming a member; it counts all the same.
func (o *output) read(r io.Reader) io.Reader { return o.b.Reader(o.ctx, o.p, r) }

// isFatal reports whether an error of reading is none of the content.
func isFatal(ctx context.Context, err error) bool {
	return ctx.Err() != nil || errors.Is(err, scanners.ErrBudget)
}
