package journal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"rastel/policy/quarantine"
)

// Index is the index with the journal before it. What it does not name here goes to the shared one.
func (j *Journal) Index() quarantine.Index { return &index{Index: j.Options.Index, j: j} }

type index struct {
	quarantine.Index
	j *Journal
}

// Put implements quarantine.Index. While the index or the message cannot be reached the journal takes the item.
func (x *index) Put(ctx context.Context, it *quarantine.Item, since time.Time) (*quarantine.Item, error) {
	if !x.j.isOnly(it.ID) && x.j.index.up() {
		stored, err := x.Index.Put(ctx, it, since)
		if err == nil || ctx.Err() != nil {
			return stored, err
		}
		x.j.noted(&x.j.index, "index", err)
	}
	return x.j.keep(ctx, it, since)
}

// keep writes an item into the journal. It may have been written to the shared index all the same, or a later
// try may: its id is the same, so it is handed on once.
func (j *Journal) keep(ctx context.Context, it *quarantine.Item, since time.Time) (*quarantine.Item, error) {
	if err := j.room(); err != nil {
		return nil, err
	}
	stored, err := j.LocalIndex.Put(ctx, it, since)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, there := j.items[stored.ID]; !there && stored.ID == it.ID {
		j.items[it.ID] = it.Size
		j.bytes += it.Size
	}
	return marked(stored), nil
}

// marked says of an item where it is.
func marked(it *quarantine.Item) *quarantine.Item {
	it.Journal = true
	it.Note = cmp.Or(it.Note, ErrWaits.Error())
	return it
}

// Get implements quarantine.Index. An item in the journal has Journal set.
func (x *index) Get(ctx context.Context, id string) (*quarantine.Item, error) {
	if !x.j.waits(id) {
		return x.Index.Get(ctx, id)
	}
	it, err := x.j.LocalIndex.Get(ctx, id)
	if errors.Is(err, quarantine.ErrNotFound) { // handed on meanwhile
		return x.Index.Get(ctx, id)
	}
	if err != nil {
		return nil, err
	}
	return marked(it), nil
}

// Evidence implements quarantine.Index.
func (x *index) Evidence(ctx context.Context, id string) ([]byte, error) {
	if !x.j.waits(id) {
		return x.Index.Evidence(ctx, id)
	}
	return x.j.LocalIndex.Evidence(ctx, id)
}

// List implements quarantine.Index: what is in the journal too. If the shared index cannot be reached it is only
// that; if there is nothing of it either, that is the error.
func (x *index) List(ctx context.Context, f quarantine.Filter) ([]quarantine.Item, error) {
	local, err := x.j.list(ctx, f)
	if err != nil {
		return nil, err
	}
	if !x.j.index.up() && len(local) > 0 {
		return local, nil
	}
	items, err := x.Index.List(ctx, f)
	if err != nil {
		if ctx.Err() == nil && len(local) > 0 {
			x.j.noted(&x.j.index, "index", err)
			return local, nil
		}
		return nil, err
	}
	return merge(items, local, f), nil
}

// list is what of the journal matches.
func (j *Journal) list(ctx context.Context, f quarantine.Filter) ([]quarantine.Item, error) {
	j.mu.Lock()
	n := len(j.items)
	j.mu.Unlock()
	if n == 0 {
		return nil, nil
	}
	items, err := j.LocalIndex.List(ctx, f)
	for i := range items {
		marked(&items[i])
	}
	return items, err
}

// merge puts two lists together, in their order. What is in both was handed on just now.
func merge(shared, local []quarantine.Item, f quarantine.Filter) []quarantine.Item {
	all := append(shared, local...)
	slices.SortStableFunc(all, func(a, b quarantine.Item) int {
		if f.Oldest {
			return cmp.Compare(a.ID, b.ID)
		}
		return cmp.Compare(b.ID, a.ID)
	})
	all = slices.CompactFunc(all, func(a, b quarantine.Item) bool { return a.ID == b.ID })
	return all[:min(len(all), max(f.Limit, 0))]
}

// Count implements quarantine.Index.
func (x *index) Count(ctx context.Context, f quarantine.Filter) (int, time.Time, error) {
	n, oldest, err := x.Index.Count(ctx, f)
	if err != nil {
		return 0, time.Time{}, err
	}
	m, first, err := x.j.LocalIndex.Count(ctx, f)
	if m > 0 && (n == 0 || first.Before(oldest)) {
		oldest = first
	}
	return n + m, oldest, err
}

// Update implements quarantine.Index. An item in the journal is handed on first; the error is ErrWaits if it cannot
// be.
func (x *index) Update(ctx context.Context, id string, change func(*quarantine.Item) error) (*quarantine.Item, error) {
	if x.j.waits(id) {
		actx, cancel := context.WithTimeout(ctx, askTime)
		defer cancel()
		if err := x.j.drain(actx, id); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrWaits, err)
		}
	}
	return x.Index.Update(ctx, id, change)
}

// Close implements quarantine.Index. It closes the journal too.
func (x *index) Close() error { return errors.Join(x.Index.Close(), x.j.close()) }
