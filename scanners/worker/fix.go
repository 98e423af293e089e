package worker

import (
	"fmt"

	"rastel/sanitize/eml"
)

const (
	// fixBatch is how many bytes and edits of a fix are in one message, about.
	fixBatch, fixEdits = 256 << 10, 1000
	// maxFixEdits is how many edits all fixes of one job may have.
	maxFixEdits = 200_000
	// fixFactor is how many times the bytes of its part all fixes of one job may have, and fixFree how
	// many bytes more.
	fixFactor, fixFree = 4, 8 << 20
)

// An edit replaces bytes of the content of the part. More says that its text goes on in the next one.
type edit struct {
	Start, End int64
	Text       []byte
	More       bool
}

// edits are the fix as it goes over the socket, in messages that are not too long. A fix that cannot be
// sent, because it is of something else than the content of the part, is none: what is found is then not
// fixable, and whoever would fix it strips the part.
func edits(part *eml.Part, fix []eml.Edit) (out [][]edit) {
	var batch []edit
	size := 0
	flush := func() {
		if len(batch) > 0 {
			out, batch, size = append(out, batch), nil, 0
		}
	}
	for _, e := range fix {
		if e.Part != part || e.Region != eml.InContent || e.Write != nil {
			return nil
		}
		for text := e.Text; ; {
			n := min(len(text), fixBatch)
			batch = append(batch, edit{e.Start, e.End, text[:n], n < len(text)})
			if size += n; size >= fixBatch || len(batch) >= fixEdits {
				flush()
			}
			if text = text[n:]; len(text) == 0 {
				break
			}
		}
	}
	flush()
	return out
}

// A fix is what a worker has sent of the fix of the finding that comes next.
type fix struct {
	edits []eml.Edit
	more  bool  // the text of the last one goes on
	count int   // of all fixes of the job
	bytes int64 // of all fixes of the job
}

// fix takes edits of the finding that comes next.
func (t *task) takeFix(payload []byte) error {
	var list []edit
	if err := decode(payload, &list); err != nil {
		return t.bad(err)
	}
	f := &t.fix
	for _, e := range list {
		f.count++
		f.bytes += int64(len(e.Text))
		switch {
		case f.count > maxFixEdits || f.bytes > fixFactor*t.p.Size+fixFree:
			return t.bad(fmt.Errorf("%w: a fix that is too large", errProtocol))
		case e.Start < 0 || e.Start > t.p.Size || e.End != -1 && (e.End < e.Start || e.End > t.p.Size):
			return t.bad(fmt.Errorf("%w: an edit of bytes %d to %d of %d", errProtocol, e.Start, e.End, t.p.Size))
		case f.more:
			last := &f.edits[len(f.edits)-1]
			last.Text = append(last.Text, e.Text...)
		default:
			f.edits = append(f.edits, eml.Edit{Part: t.p, Region: eml.InContent, Start: e.Start, End: e.End, Text: e.Text})
		}
		f.more = e.More
	}
	return nil
}

// fixOf gives the fix that was sent for the finding of a part, and forgets it.
func (t *task) fixOf(part *eml.Part) ([]eml.Edit, error) {
	list, more := t.fix.edits, t.fix.more
	t.fix.edits, t.fix.more = nil, false
	if more || len(list) > 0 && part != t.p {
		return nil, t.bad(fmt.Errorf("%w: half a fix, or one of a member", errProtocol))
	}
	return list, nil
}
