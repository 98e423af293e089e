package sqlindex

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// searchLock is the advisory lock of who makes the indexes.
const searchLock = 0x72617374 // "rast"

// pgSearch are indexes that PostgreSQL searches by. They are made while others write, which no migration may: it
// would be cut off at some limit, and all would wait for it.
var pgSearch = []struct{ name, on string }{
	{"items_text_trgm", "items USING gin (search gin_trgm_ops)"},
	{"items_sender_trgm", "items USING gin (sender_keys gin_trgm_ops)"},
	{"items_recipient_trgm", "items USING gin (recipient_keys gin_trgm_ops)"},
	// A hash, because a sender may be longer than a row of another index.
	{"items_sender_hash", "items USING hash (sender_keys)"},
}

// pgSearchAgain is when it is tried again to make what is missing.
const pgSearchAgain = time.Minute

// makePgSearch makes what is missing, until it is there or ctx ends. Without it everything is found too, only
// slowly, so an error is logged.
func makePgSearch(ctx context.Context, conf *pgx.ConnConfig) {
	own := conf.Copy()
	own.RuntimeParams["statement_timeout"] = "0"
	db := stdlib.OpenDB(*own)
	defer db.Close()
	for {
		err := makePgIndexes(ctx, db)
		if err == nil || ctx.Err() != nil {
			return
		}
		slog.Warn("searching the quarantine is slow for now", "error", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(pgSearchAgain):
		}
	}
}

// errBusy is that another program makes the indexes.
var errBusy = errors.New("another program makes the indexes")

func makePgIndexes(ctx context.Context, db *sql.DB) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	var mine bool
	if err := conn.QueryRowContext(ctx, "SELECT pg_try_advisory_lock($1)", searchLock).Scan(&mine); err != nil {
		return err
	}
	if !mine {
		return errBusy
	}
	defer func() { // the connection may live on
		_, _ = conn.ExecContext(context.WithoutCancel(ctx), "SELECT pg_advisory_unlock($1)", searchLock)
	}()
	if _, err := conn.ExecContext(ctx, "CREATE EXTENSION IF NOT EXISTS pg_trgm"); err != nil {
		return fmt.Errorf("the extension pg_trgm, which comes with PostgreSQL: %w", err)
	}
	for _, x := range pgSearch {
		// One that was cut off stays, and is of no use.
		var valid bool
		err := conn.QueryRowContext(ctx, "SELECT COALESCE((SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass($1)), false)", x.name).Scan(&valid)
		if err != nil {
			return err
		}
		if valid {
			continue
		}
		for _, statement := range []string{"DROP INDEX IF EXISTS " + x.name, "CREATE INDEX CONCURRENTLY " + x.name + " ON " + x.on} {
			if _, err := conn.ExecContext(ctx, statement); err != nil {
				return err
			}
		}
	}
	return nil
}
