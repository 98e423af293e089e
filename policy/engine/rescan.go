package engine

import (
	"context"
	"fmt"
	"io"

	"rastel/policy/quarantine"
	"rastel/sanitize/eml"
)

// Rescan examines the message of an item with the engines as they are now. It decides, counts and stores
// nothing. It implements quarantine.Examiner.
func (e *Engine) Rescan(ctx context.Context, it *quarantine.Item, raw io.Reader) ([]quarantine.Finding, error) {
	x, done, err := e.again(ctx, it, raw)
	if err != nil {
		return nil, err
	}
	defer done()
	return findingsOf(x), nil
}

// again inspects the message of an item. Done gives back what that holds.
func (e *Engine) again(ctx context.Context, it *quarantine.Item, raw io.Reader) (x *Examination, done func(), err error) {
	spool := eml.NewSpool(e.opt.Limits.Spool)
	// All of it is read first: a message that is not the one that was held is not examined.
	if _, err := io.Copy(spool, raw); err != nil {
		spool.Close()
		return nil, nil, fmt.Errorf("read held message: %w", err)
	}
	spool.CloseWrite(nil)
	m, report, err := e.Inspect(ctx, it.Envelope(), spool)
	if err != nil {
		spool.Close()
		return nil, nil, err
	}
	return &Examination{Message: m, Report: report}, func() { m.Close(); spool.Close() }, nil
}

// findingsOf are all findings as an item has them.
func findingsOf(x *Examination) []quarantine.Finding {
	list := make([]quarantine.Finding, 0, len(x.Report.Findings))
	for _, f := range x.Report.Findings {
		list = append(list, quarantine.Finding{Check: f.Check, Part: f.Part.ID, Detail: f.Detail})
	}
	return list
}
