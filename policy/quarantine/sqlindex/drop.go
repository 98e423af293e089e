package sqlindex

import (
	"context"
	"database/sql"
)

// Drop removes an item as if it had never been there: for a journal, whose items are handed on.
func (x *Index) Drop(ctx context.Context, id string) error {
	return x.transact(ctx, func(tx *sql.Tx) error {
		for _, table := range []string{"evidence", "items"} {
			if _, err := tx.ExecContext(ctx, "DELETE FROM "+table+" WHERE id = ?", id); err != nil {
				return err
			}
		}
		return nil
	})
}
