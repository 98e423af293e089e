package sqlindex

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"rastel/policy/quarantine"
)

var insert = "INSERT INTO items (" + columns + ", sender_keys, recipient_keys, search) VALUES (" +
	strings.Repeat("?, ", strings.Count(columns, ",")+3) + "?) ON CONFLICT (id) DO NOTHING"

// Put implements quarantine.Index. An item whose id is there already, because the answer to the Put before got
// lost, is that one.
func (x *Index) Put(ctx context.Context, it *quarantine.Item, since time.Time) (*quarantine.Item, error) {
	ctx, cancel := within(ctx, x.dialect.put)
	defer cancel()
	var stored *quarantine.Item
	err := x.transact(ctx, func(tx *sql.Tx) error {
		same := "state = 'held'"
		if it.Purpose != "" {
			same = "purpose <> ''"
		}
		old, err := scan(tx.QueryRowContext(ctx, "SELECT "+columns+` FROM items
			WHERE envelope_key = ? AND `+same+` AND created >= ? ORDER BY id LIMIT 1`, it.Key, millis(since)))
		switch {
		case err == nil && it.Purpose != "":
			stored = old
			return nil
		case err == nil:
			stored = old
			return keepLonger(ctx, tx, old, it.Expires)
		case !errors.Is(err, sql.ErrNoRows):
			return err
		}
		copied := *it
		stored = &copied
		res, err := tx.ExecContext(ctx, insert, append(values(it), keys(it)...)...)
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		switch {
		case err != nil:
			return err
		case n == 1:
			return putEvidence(ctx, tx, it)
		}
		stored, err = get(ctx, tx, it.ID, "")
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("write index: %w", err)
	}
	x.searcher.written()
	return stored, nil
}

func keepLonger(ctx context.Context, tx *sql.Tx, it *quarantine.Item, expires time.Time) error {
	if !expires.After(it.Expires) {
		return nil
	}
	it.Expires = expires
	_, err := tx.ExecContext(ctx, "UPDATE items SET expires = ? WHERE id = ?", millis(expires), it.ID)
	return err
}

// Get implements quarantine.Index.
func (x *Index) Get(ctx context.Context, id string) (*quarantine.Item, error) {
	ctx, cancel := within(ctx, x.dialect.put)
	defer cancel()
	var it *quarantine.Item
	err := x.again(ctx, func() (err error) {
		it, err = get(ctx, x.read, id, "")
		return err
	})
	return it, err
}

// again is retry, once the database can be used.
func (x *Index) again(ctx context.Context, do func() error) error {
	if err := x.usable(); err != nil {
		return err
	}
	return x.dialect.retry(ctx, do)
}

type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func get(ctx context.Context, q querier, id, lock string) (*quarantine.Item, error) {
	it, err := scan(q.QueryRowContext(ctx, "SELECT "+columns+" FROM items WHERE id = ?"+lock, id))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, quarantine.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("read index: %w", err)
	}
	return it, nil
}

// Update implements quarantine.Index.
func (x *Index) Update(ctx context.Context, id string, change func(*quarantine.Item) error) (*quarantine.Item, error) {
	it, err := x.update(ctx, id, change)
	if isFull(err) && x.spare.use() {
		it, err = x.update(ctx, id, change)
	}
	if err == nil {
		x.spare.fill()
	}
	return it, err
}

func (x *Index) update(ctx context.Context, id string, change func(*quarantine.Item) error) (*quarantine.Item, error) {
	var it *quarantine.Item
	err := x.transact(ctx, func(tx *sql.Tx) error {
		var err error
		if it, err = get(ctx, tx, id, x.dialect.lockRow); err != nil {
			return err
		}
		state, attempt := it.State, it.Attempt
		if err := change(it); err != nil {
			return err
		}
		return save(ctx, tx, it, state, attempt)
	})
	if err != nil {
		return nil, err
	}
	return it, nil
}

// save writes what an update may change. The transaction alone keeps others out in SQLite; the
// condition does so where transactions run at a time.
func save(ctx context.Context, tx *sql.Tx, it *quarantine.Item, state quarantine.State, attempt string) error {
	res, err := tx.ExecContext(ctx, `UPDATE items SET expires = ?, stored = ?, state = ?, changed = ?,
		changed_by = ?, note = ?, release_to = ?, lease = ?, attempt = ?, tries = ?, next_try = ?
		WHERE id = ? AND state = ? AND attempt = ?`,
		millis(it.Expires), number(it.Stored), string(it.State), millis(it.Changed),
		it.ChangedBy, it.Note, encodeList(it.ReleaseTo), millis(it.Lease), it.Attempt, it.Tries, millis(it.Next),
		it.ID, string(state), attempt)
	if err != nil {
		return fmt.Errorf("write index: %w", err)
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		return errors.Join(fmt.Errorf("%w: it was changed meanwhile", quarantine.ErrState), err)
	}
	return nil
}

// List implements quarantine.Index.
func (x *Index) List(ctx context.Context, f quarantine.Filter) ([]quarantine.Item, error) {
	ctx, cancel := within(ctx, x.dialect.list)
	defer cancel()
	var items []quarantine.Item
	err := x.again(ctx, func() (err error) {
		items, err = x.list(ctx, f)
		return err
	})
	return items, err
}

func (x *Index) list(ctx context.Context, f quarantine.Filter) ([]quarantine.Item, error) {
	if terms := searchTerms(f); x.searchable && len(terms) > 0 && !f.Oldest {
		return x.searched(ctx, f, terms)
	}
	return x.scanned(ctx, f, "")
}

// scanned lists what matches, and more than the filter says if that is not empty.
func (x *Index) scanned(ctx context.Context, f quarantine.Filter, more string) ([]quarantine.Item, error) {
	where, args := conditions(f)
	if more != "" {
		where += " AND " + more
	}
	order := "id DESC"
	if f.Oldest {
		order = "id"
	}
	return x.query(ctx, "SELECT "+columns+" FROM items WHERE "+where+" ORDER BY "+order+" LIMIT ?", append(args, f.Limit)...)
}

func (x *Index) query(ctx context.Context, query string, args ...any) ([]quarantine.Item, error) {
	rows, err := x.read.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("read index: %w", err)
	}
	defer rows.Close()
	var items []quarantine.Item
	for rows.Next() {
		it, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("read index: %w", err)
		}
		items = append(items, *it)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read index: %w", err)
	}
	return items, nil
}

// Count implements quarantine.Index.
func (x *Index) Count(ctx context.Context, f quarantine.Filter) (n int, oldest time.Time, err error) {
	ctx, cancel := within(ctx, x.dialect.list)
	defer cancel()
	f.Cursor = ""
	where, args := conditions(f)
	var created int64
	err = x.again(ctx, func() error {
		return x.read.QueryRowContext(ctx, "SELECT COUNT(*), COALESCE(MIN(created), 0) FROM items WHERE "+where, args...).Scan(&n, &created)
	})
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("read index: %w", err)
	}
	return n, instant(created), nil
}

// forgetAtOnce is how many records one transaction removes, so that it does not keep others waiting.
const forgetAtOnce = 500

// Forget implements quarantine.Index.
func (x *Index) Forget(ctx context.Context, before time.Time) (int, error) {
	all := 0
	for {
		n, err := x.forget(ctx, before)
		if all += n; err != nil {
			return all, fmt.Errorf("write index: %w", err)
		}
		if n < forgetAtOnce {
			return all, nil
		}
	}
}

func (x *Index) forget(ctx context.Context, before time.Time) (n int, err error) {
	const old = "(SELECT id FROM items WHERE state = 'sent' AND created < ? ORDER BY id LIMIT ?)"
	err = x.transact(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "DELETE FROM evidence WHERE id IN "+old, millis(before), forgetAtOnce); err != nil {
			return err
		}
		res, err := tx.ExecContext(ctx, "DELETE FROM items WHERE id IN "+old, millis(before), forgetAtOnce)
		if err != nil {
			return err
		}
		count, err := res.RowsAffected()
		n = int(count)
		return err
	})
	return n, err
}

// conditions are those of a filter, as SQL.
func conditions(f quarantine.Filter) (string, []any) {
	where, args := []string{"1 = 1"}, []any{}
	add := func(on bool, condition string, arg any) {
		if on {
			where, args = append(where, condition), append(args, arg)
		}
	}
	add(f.State != "", "state = ?", string(f.State))
	add(f.Class != "", "class = ?", f.Class)
	add(f.NotClass != "", "class <> ?", f.NotClass)
	if f.Sender != "" && f.Sender[0] != '@' {
		add(true, "sender_keys = ?", addressKey(f.Sender)) // there is one sender
	} else {
		add(f.Sender != "", `sender_keys LIKE ? ESCAPE '\'`, "%"+literal(addressKey(f.Sender))+"%")
	}
	add(f.Recipient != "", `recipient_keys LIKE ? ESCAPE '\'`, "%"+literal(addressKey(f.Recipient))+"%")
	add(f.Text != "", `search LIKE ? ESCAPE '\'`, "%"+literal(fold(f.Text))+"%")
	add(!f.Since.IsZero(), "created >= ?", millis(f.Since))
	add(!f.Since.IsZero(), "id >= ?", firstID(f.Since))
	add(!f.Due.IsZero(), "stored = 1 AND expires <= ?", millis(f.Due))
	add(!f.TryBy.IsZero(), "next_try <= ?", millis(f.TryBy))
	add(f.Cursor != "" && !f.Oldest, "id < ?", f.Cursor)
	return strings.Join(where, " AND "), args
}

// addressKey is a whole address as a key column has it, or the end of one for "@domain".
func addressKey(s string) string {
	switch {
	case s == "":
		return ""
	case strings.HasPrefix(s, "@"):
		return fold(s) + "\n"
	}
	return "\n" + fold(s) + "\n"
}

// literal is s, folded, as part of a LIKE pattern that matches just it.
func literal(s string) string {
	return strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(s)
}
