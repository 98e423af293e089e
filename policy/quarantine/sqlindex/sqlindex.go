// Package sqlindex keeps the records of the quarantine in an SQL database: SQLite, in one
// file, with nothing to install, or PostgreSQL, for several nodes. The tables and the statements are the same.
package sqlindex

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the driver "sqlite"; see also reserve.go

	"rastel/policy/quarantine"
)

//go:embed migrations/*.sql migrations/postgres/*.sql
var migrations embed.FS

const (
	// busyTime is how long, in milliseconds, a statement waits for another process.
	busyTime = "5000"
	// openTime is how long opening may take, new tables included.
	openTime = 5 * time.Minute
	// readers is how many connections read at a time.
	readers = 4
)

// An Index is a quarantine.Index in a database.
//
// SQLite has one writer at a time anyhow. With one connection for it the writers queue in
// order, here, rather than by trying again and again there: the slowest of eight takes 73 ms
// instead of 483.
type Index struct {
	write *sql.DB
	read  *sql.DB
	spare reserve // of SQLite

	searchable bool      // items_search has them; else the database searches by itself
	searcher   *searcher // nil: none is needed
	dialect    dialect
	slots      chan string           // rows of commit_marks; nil: none are needed
	unprepared atomic.Pointer[error] // why PostgreSQL cannot be used yet
	stop       func()                // ends what Open has begun; nil: nothing
}

var _ quarantine.Index = (*Index)(nil)

// Open opens the database in a file, makes it with mode 0600 if there is none, and brings its
// tables up to date.
func Open(name string) (*Index, error) {
	ctx, cancel := context.WithTimeout(context.Background(), openTime)
	defer cancel()
	if err := makeFile(name); err != nil {
		return nil, fmt.Errorf("open index: %w", err)
	}
	x := &Index{spare: reserve{name: name + ".reserve"}}
	var err error
	if x.write, err = open(name, 1, "immediate"); err != nil {
		return nil, fmt.Errorf("open index %s: %w", name, err)
	}
	if x.read, err = open(name, readers, "deferred"); err != nil {
		return nil, errors.Join(fmt.Errorf("open index %s: %w", name, err), x.write.Close())
	}
	if err := migrate(ctx, goose.DialectSQLite3, x.write); err != nil {
		return nil, errors.Join(fmt.Errorf("open index %s: %w", name, err), x.Close())
	}
	x.spare.fill()
	x.searchable = true
	x.startSearch()
	return x, nil
}

// makeFile makes the file before SQLite does, for its mode: the log and the shared memory
// beside it inherit that.
func makeFile(name string) error {
	dir := filepath.Dir(name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// open opens the file with as many connections. The settings are part of the name, so that
// every connection has them. Synchronous FULL syncs the write-ahead log at each commit: with
// NORMAL, SQLite's usual choice there, a power cut takes the last commits back.
func open(name string, conns int, lock string) (*sql.DB, error) {
	abs, err := filepath.Abs(name)
	if err != nil {
		return nil, err
	}
	q := url.Values{"_txlock": {lock}, "_pragma": {
		"busy_timeout(" + busyTime + ")", "journal_mode(WAL)", "synchronous(FULL)", "trusted_schema(0)",
	}}
	u := url.URL{Scheme: "file", Path: abs, RawQuery: q.Encode()}
	db, err := sql.Open("sqlite", u.String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	return db, nil
}

// migrate brings the tables up to date.
func migrate(ctx context.Context, d goose.Dialect, db *sql.DB, opts ...goose.ProviderOption) error {
	p, err := goose.NewProvider(d, db, migrationsOf(d), opts...)
	if err != nil {
		return err
	}
	_, err = p.Up(ctx)
	return err
}

// Close closes the database.
func (x *Index) Close() error {
	x.searcher.close()
	if x.stop != nil {
		x.stop()
	}
	if x.read == x.write {
		return x.write.Close()
	}
	return errors.Join(x.read.Close(), x.write.Close())
}

// usable returns why the database cannot be used yet.
func (x *Index) usable() error {
	if why := x.unprepared.Load(); why != nil {
		return *why
	}
	return nil
}
