package sqlindex

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"rastel/policy/quarantine"
)

// putEvidence writes the record of the message of an item.
func putEvidence(ctx context.Context, tx *sql.Tx, it *quarantine.Item) error {
	if len(it.Evidence) == 0 {
		return nil
	}
	_, err := tx.ExecContext(ctx, "INSERT INTO evidence (id, record) VALUES (?, ?)", it.ID, string(it.Evidence))
	return err
}

// Evidence implements quarantine.Index.
func (x *Index) Evidence(ctx context.Context, id string) ([]byte, error) {
	ctx, cancel := within(ctx, x.dialect.put)
	defer cancel()
	var record string
	err := x.again(ctx, func() error {
		return x.read.QueryRowContext(ctx, "SELECT record FROM evidence WHERE id = ?", id).Scan(&record)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return nil, quarantine.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("read index: %w", err)
	}
	return []byte(record), nil
}
