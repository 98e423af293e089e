package quarantine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// rescanTime is how long a held message may be examined before it is released.
const rescanTime = 5 * time.Minute

// maxRefusal is how long the note of a release that was refused may be, so that what it must end with has room.
const maxRefusal = maxText / 2

// maxBefore is how much of the end of a note stays behind another one.
const maxBefore = maxText / 4

// An Examiner examines the message of an item with the engines of today, and returns what they find. A finding
// "scan/failed" says that one of them could not tell.
type Examiner func(ctx context.Context, it *Item, raw io.Reader) ([]Finding, error)

// SetExaminer has messages examined again before they are released. It is called once, before anything is
// released; without it nothing is examined again.
func (s *Store) SetExaminer(f Examiner) { s.examiner = f }

// A Rescan is what is found in a held message today.
type Rescan struct {
	Findings []Finding `json:"findings"`
	// New are those that say malware and are not in the record of the item.
	New []Finding `json:"new"`
	// Failed says why it is not known what the message is; empty: it is.
	Failed string `json:"failed,omitempty"`
}

// ErrRescan is what a *RescanError is.
var ErrRescan = errors.New("not released")

// A RescanError says why a message was not released. Who knows better says so by ReleaseRequest.Force.
type RescanError struct{ Rescan *Rescan }

func (e *RescanError) Error() string { return ErrRescan.Error() + ": " + e.Rescan.objection() }
func (e *RescanError) Unwrap() error { return ErrRescan }

// objection says what is against a release; empty: nothing.
func (r *Rescan) objection() string {
	var all []string
	for _, f := range r.New[:min(len(r.New), 3)] {
		all = append(all, fmt.Sprintf("%.60s in part %.60s (%.100q)", f.Check, f.Part, f.Detail))
	}
	if more := len(r.New) - len(all); more > 0 {
		all = append(all, fmt.Sprintf("%d more", more))
	}
	text := ""
	if len(all) > 0 {
		text = "today's engines find what was not found before: " + strings.Join(all, ", ")
	}
	if r.Failed != "" {
		if text != "" {
			text += "; "
		}
		text += fmt.Sprintf("it could not be examined again: %.200s", r.Failed)
	}
	return strings.ToValidUTF8(text[:min(len(text), maxRefusal)], "")
}

// Rescan examines the message of an item again, and changes nothing.
//
// The error is ErrNotFound, ErrState if the message is gone, or that of the index. That an engine failed, or the
// message cannot be read, is in the result.
func (s *Store) Rescan(ctx context.Context, id string) (*Rescan, error) {
	it, err := s.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	if !it.Stored {
		return nil, fmt.Errorf("%w: it is %s", ErrState, it.State)
	}
	return s.rescan(ctx, it), nil
}

func (s *Store) rescan(ctx context.Context, it *Item) *Rescan {
	r := &Rescan{Findings: []Finding{}, New: []Finding{}}
	if s.examiner == nil {
		return r
	}
	ctx, cancel := context.WithTimeout(ctx, rescanTime)
	defer cancel()
	found, err := s.examineStored(ctx, it)
	if err != nil {
		r.Failed = err.Error()
		return r
	}
	for _, f := range found {
		f.Check, f.Part, f.Detail = cutText(f.Check), cutText(f.Part), cutText(f.Detail)
		switch {
		case f.Check == "scan/failed":
			r.Failed = f.Detail
		case strings.HasSuffix(f.Check, "/malware") && !recorded(it, f):
			r.New = append(r.New, f)
		}
		if len(r.Findings) < maxFindings {
			r.Findings = append(r.Findings, f)
		}
	}
	return r
}

// examineStored reads the message to its end, because only then it is known to be the one that was held.
func (s *Store) examineStored(ctx context.Context, it *Item) ([]Finding, error) {
	raw, err := s.open(ctx, it)
	if err != nil {
		return nil, err
	}
	defer raw.Close()
	return s.examiner(ctx, it, raw)
}

// recorded reports whether the record of the item has the finding, in whatever part: parts may be counted
// otherwise by now.
func recorded(it *Item, f Finding) bool {
	return slices.ContainsFunc(it.Findings, func(o Finding) bool { return o.Check == f.Check && o.Detail == f.Detail })
}

// reviewed examines a message that is to be released. It returns what is to be noted if it is released in
// spite of what was found, or a *RescanError.
func (s *Store) reviewed(ctx context.Context, it *Item, req ReleaseRequest) (spite string, err error) {
	if s.examiner == nil || it.State != Held || !it.Stored {
		return "", nil // the release says what is wrong
	}
	r := s.rescan(ctx, it)
	if err := ctx.Err(); err != nil {
		return "", err
	}
	objection := r.objection()
	switch {
	case objection == "":
		return "", nil
	case req.Force:
		s.log.Warn("release in spite of the rescan", "id", it.ID, "by", req.By, "objection", objection)
		return "released in spite of this: " + objection, nil
	}
	s.log.Warn("release refused by the rescan", "id", it.ID, "by", req.By, "objection", objection)
	return "", errors.Join(&RescanError{r}, s.noteRefusal(ctx, it.ID, req.By, objection))
}

// noteRefusal notes in the item that it was not released, and why.
func (s *Store) noteRefusal(ctx context.Context, id, by, objection string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTime)
	defer cancel()
	_, err := s.index.Update(ctx, id, func(it *Item) error {
		if it.State != Held {
			return errKeep // somebody else has decided meanwhile
		}
		s.mark(it, Held, by, followedBy("not released: "+objection, unanswered(it.Note)))
		return nil
	})
	if errors.Is(err, errKeep) || errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// followedBy is a note with the one before it, which must stay at its end; see unanswered.
func followedBy(note, before string) string {
	switch {
	case before == "":
		return note
	case note == "":
		return before
	}
	return note + "; before, " + strings.ToValidUTF8(before[max(0, len(before)-maxBefore):], "")
}
