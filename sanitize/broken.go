package sanitize

import (
	"context"
	"fmt"

	"rastel/sanitize/eml"
)

// wrapped examines a page also as it is where an MTA has broken its long lines, which may divide
// "xonerror=" so that "onerror=" is left. The fix changes nothing but the encoding, in which no
// lines are long. What was read along tells, where it can.
func wrapped(ctx context.Context, out []eml.Finding, p *eml.Part, marks tally, along *alongside) ([]eml.Finding, error) {
	for i, by := range eml.Wrappings() {
		now, ok := along.tally(i, p.Charset())
		if !ok {
			var err error
			if now, err = tallyWrapped(ctx, p, by); err != nil {
				return nil, err
			}
		}
		for check, n := range now {
			if n > marks[check] && check < int(checkRemoteImage) {
				fix := []eml.Edit{{Part: p, Region: eml.InContent}}
				return append(out, eml.Finding{Check: htmlChecks[checkBroken].ID, Part: p, Detail: htmlChecks[check].ID + " where an MTA breaks a line", Fix: fix}), nil
			}
		}
	}
	return out, nil
}

// tallyWrapped reads such a page as a whole.
func tallyWrapped(ctx context.Context, p *eml.Part, by eml.Wrapping) (marks tally, err error) {
	s := eml.NewSpool(eml.SpoolOptions{})
	defer s.Close()
	if err := p.WriteWrapped(s, by); err != nil {
		return marks, fmt.Errorf("read HTML: %w", err)
	}
	s.CloseWrite(nil)
	b, release, err := s.View()
	if err != nil {
		return marks, fmt.Errorf("read HTML: %w", err)
	}
	defer release()
	_, marks, err = examine(ctx, p, b, true, nil)
	return marks, err
}
