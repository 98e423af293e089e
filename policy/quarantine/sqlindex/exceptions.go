package sqlindex

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"

	"rastel/policy/exceptions"
)

var _ exceptions.Table = (*Index)(nil)

const exceptionColumns = "id, sender, recipient, sha256, rule, check_id, owner, reason, until, created, created_by, changed, changed_by, hits, last_hit"

// ofMacros stands before the hash of macros, in the column of hashes. The version before takes that for a hash that nothing
// has; in a column of its own it would not see it, and such an exception would be for all that its sender sends.
const ofMacros = "macros:"

func hashOf(e *exceptions.Exception) string {
	if e.Macros != "" {
		return ofMacros + e.Macros
	}
	return e.SHA256
}

// Exceptions implements exceptions.Table.
func (x *Index) Exceptions(ctx context.Context) (list []exceptions.Exception, err error) {
	ctx, cancel := within(ctx, x.dialect.list)
	defer cancel()
	err = x.again(ctx, func() error {
		list, err = x.exceptions(ctx)
		return err
	})
	return list, err
}

func (x *Index) exceptions(ctx context.Context) ([]exceptions.Exception, error) {
	rows, err := x.read.QueryContext(ctx, "SELECT "+exceptionColumns+" FROM exceptions ORDER BY id LIMIT ?", exceptions.Max)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []exceptions.Exception
	for rows.Next() {
		var e exceptions.Exception
		var created, changed, lastHit int64
		if err := rows.Scan(&e.ID, &e.Sender, &e.Recipient, &e.SHA256, &e.Rule, &e.Check, &e.Owner, &e.Reason, &e.Until,
			&created, &e.CreatedBy, &changed, &e.ChangedBy, &e.Hits, &lastHit); err != nil {
			return nil, err
		}
		if sum, ok := strings.CutPrefix(e.SHA256, ofMacros); ok {
			e.SHA256, e.Macros = "", sum
		}
		e.Created, e.Changed, e.LastHit = instant(created), instant(changed), instant(lastHit)
		list = append(list, e)
	}
	return list, rows.Err()
}

// ChangeException implements exceptions.Table.
func (x *Index) ChangeException(ctx context.Context, c exceptions.Entry) error {
	return x.transact(ctx, func(tx *sql.Tx) error {
		if err := changeException(ctx, tx, c.What, &c.Exception); err != nil {
			return err
		}
		text, err := json.Marshal(c.Exception)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO exception_log (at, changed_by, what, id, exception) VALUES (?, ?, ?, ?, ?)",
			millis(c.At), c.By, c.What, c.Exception.ID, string(text))
		return err
	})
}

func changeException(ctx context.Context, tx *sql.Tx, what string, e *exceptions.Exception) error {
	switch what {
	case exceptions.Created:
		return insertException(ctx, tx, e)
	case exceptions.Updated:
		return one(tx.ExecContext(ctx, `UPDATE exceptions SET sender = ?, recipient = ?, sha256 = ?, rule = ?, check_id = ?,
			owner = ?, reason = ?, until = ?, changed = ?, changed_by = ? WHERE id = ?`,
			e.Sender, e.Recipient, hashOf(e), e.Rule, e.Check, e.Owner, e.Reason, e.Until, millis(e.Changed), e.ChangedBy, e.ID))
	case exceptions.Deleted:
		return one(tx.ExecContext(ctx, "DELETE FROM exceptions WHERE id = ?", e.ID))
	}
	return fmt.Errorf("%q is no change of an exception", what)
}

func insertException(ctx context.Context, tx *sql.Tx, e *exceptions.Exception) error {
	var n int
	if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM exceptions").Scan(&n); err != nil {
		return err
	}
	if n >= exceptions.Max {
		return exceptions.ErrFull
	}
	_, err := tx.ExecContext(ctx, "INSERT INTO exceptions ("+exceptionColumns+") VALUES ("+strings.Repeat("?, ", strings.Count(exceptionColumns, ","))+"?)",
		e.ID, e.Sender, e.Recipient, hashOf(e), e.Rule, e.Check, e.Owner, e.Reason, e.Until,
		millis(e.Created), e.CreatedBy, millis(e.Changed), e.ChangedBy, e.Hits, millis(e.LastHit))
	return err
}

// one is about a statement that must change one row.
func one(res sql.Result, err error) error {
	if err != nil {
		return err
	}
	n, err := res.RowsAffected()
	if err == nil && n != 1 {
		return exceptions.ErrNotFound
	}
	return err
}

// HitExceptions implements exceptions.Table.
func (x *Index) HitExceptions(ctx context.Context, hits []exceptions.Hit) error {
	return x.transact(ctx, func(tx *sql.Tx) error {
		for _, h := range hits {
			_, err := tx.ExecContext(ctx, `UPDATE exceptions SET hits = hits + ?,
				last_hit = CASE WHEN last_hit < ? THEN ? ELSE last_hit END WHERE id = ?`, h.Count, millis(h.Last), millis(h.Last), h.ID)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// ExceptionLog implements exceptions.Table.
func (x *Index) ExceptionLog(ctx context.Context, id string, limit int) (list []exceptions.Entry, err error) {
	ctx, cancel := within(ctx, x.dialect.list)
	defer cancel()
	err = x.again(ctx, func() error {
		list, err = x.exceptionLog(ctx, id, limit)
		return err
	})
	return list, err
}

func (x *Index) exceptionLog(ctx context.Context, id string, limit int) ([]exceptions.Entry, error) {
	rows, err := x.read.QueryContext(ctx, "SELECT serial, at, changed_by, what, exception FROM exception_log WHERE ? = '' OR id = ? ORDER BY serial DESC LIMIT ?", id, id, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []exceptions.Entry
	for rows.Next() {
		var e exceptions.Entry
		var at int64
		var text string
		if err := rows.Scan(&e.Serial, &at, &e.By, &e.What, &text); err != nil {
			return nil, err
		}
		e.At = instant(at)
		if err := json.Unmarshal([]byte(text), &e.Exception); err != nil {
			return nil, fmt.Errorf("log of exceptions, entry %d: %w", e.Serial, err)
		}
		list = append(list, e)
	}
	return list, rows.Err()
}
