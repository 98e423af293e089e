package sqlindex

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"rastel/policy/quarantine"
)

const (
	// idleTime is after how long a connection that nobody uses is closed.
	idleTime = 5 * time.Minute
	// prepareEvery is how often a server is tried that could not be reached at the start.
	prepareEvery = 2 * time.Second
	// updateTime is how long a change may be tried; what a release did must be noted, though the server be
	// started anew meanwhile. Config.Wait is for everything that mail waits for.
	updateTime = 30 * time.Second
	// listTime is how long a list may take.
	listTime = 10 * time.Second
	// maxPassword is how long a file with a password may be.
	maxPassword = 4 << 10
)

// ErrUnreachable is why nothing can be done before the tables were seen to be up to date.
var ErrUnreachable = errors.New("the database could not be reached yet")

// OpenPostgres opens a database in PostgreSQL and brings its tables up to date. Several programs may use it at
// a time. A server that cannot be reached is no error: it is tried again in the background, and until then all
// calls fail at once, with ErrUnreachable.
func OpenPostgres(cfg quarantine.IndexConfig) (*Index, error) {
	conf, err := pgConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("open index: %w", err)
	}
	db := sql.OpenDB(pgConnector{stdlib.GetConnector(*conf)})
	db.SetMaxOpenConns(cfg.Connections)
	db.SetMaxIdleConns(cfg.Connections)
	db.SetConnMaxIdleTime(idleTime)
	x := &Index{write: db, read: db, slots: makeSlots(cfg.Connections), dialect: dialect{
		lockRow: " FOR UPDATE", tx: sql.TxOptions{Isolation: sql.LevelSerializable}, again: pgAgain, unsure: pgUnsure,
		put: cfg.Wait, list: listTime, update: updateTime,
	}}
	why := ErrUnreachable
	x.unprepared.Store(&why)
	ctx, cancel := context.WithTimeout(context.Background(), openTime)
	defer cancel()
	err = x.prepare(ctx, conf)
	if err != nil && !unreachable(err) {
		return nil, errors.Join(fmt.Errorf("open index %s: %w", conf.Host, err), db.Close())
	}
	x.prepareLater(conf, err == nil)
	return x, nil
}

// pgConfig are the settings of a connection.
func pgConfig(cfg quarantine.IndexConfig) (*pgx.ConnConfig, error) {
	conf, err := pgx.ParseConfig(cfg.Postgres)
	if err != nil {
		return nil, err
	}
	if cfg.PasswordFile != "" {
		if conf.Password, err = readPassword(cfg.PasswordFile); err != nil {
			return nil, err
		}
	}
	if conf.ConnectTimeout == 0 || conf.ConnectTimeout > cfg.Wait {
		conf.ConnectTimeout = cfg.Wait
	}
	if conf.ValidateConnect == nil { // a server that takes no changes is not the one that is meant
		conf.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	for name, value := range map[string]string{
		"application_name":                    "rastel",
		"synchronous_commit":                  "on", // whatever the server's default: what was written must last
		"idle_in_transaction_session_timeout": "30000",
		"statement_timeout":                   fmt.Sprint(updateTime.Milliseconds()),
	} {
		if _, ok := conf.RuntimeParams[name]; !ok {
			conf.RuntimeParams[name] = value
		}
	}
	return conf, nil
}

func readPassword(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxPassword))
	if err != nil {
		return "", err
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}

// prepare brings the tables up to date. Of several programs one does so at a time. It has connections of its
// own, because goose speaks to PostgreSQL in its own words and takes longer than a statement may.
func (x *Index) prepare(ctx context.Context, conf *pgx.ConnConfig) error {
	own := conf.Copy()
	own.RuntimeParams["statement_timeout"] = "0"
	db := stdlib.OpenDB(*own)
	defer db.Close()
	if err := db.PingContext(ctx); err != nil {
		return err
	}
	locker, err := lock.NewPostgresSessionLocker()
	if err != nil {
		return err
	}
	if err := migrate(ctx, goose.DialectPostgres, db, goose.WithSessionLocker(locker)); err != nil {
		return err
	}
	x.unprepared.Store(nil)
	return x.forgetMarks(ctx)
}

// prepareLater does in the background what takes long or cannot be done yet, until Close.
func (x *Index) prepareLater(conf *pgx.ConnConfig, prepared bool) {
	ctx, cancel := context.WithCancel(context.Background())
	var task sync.WaitGroup
	x.stop = func() { cancel(); task.Wait() }
	task.Go(func() {
		if prepared || x.prepareUntil(ctx, conf) {
			makePgSearch(ctx, conf)
		}
	})
}

// prepareUntil tries to prepare until it comes about, or ctx ends.
func (x *Index) prepareUntil(ctx context.Context, conf *pgx.ConnConfig) bool {
	tick := time.NewTicker(prepareEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
		err := x.prepare(ctx, conf)
		if err == nil {
			return true
		}
		err = fmt.Errorf("%w: %w", ErrUnreachable, err)
		x.unprepared.Store(&err)
	}
}

// unreachable reports whether the server did not answer, or takes nobody for now. That a password is wrong is
// another matter: it does not pass by itself.
func unreachable(err error) bool {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		var connect *pgconn.ConnectError
		var network net.Error
		return errors.As(err, &connect) || errors.As(err, &network) || errors.Is(err, io.EOF) ||
			errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, context.DeadlineExceeded)
	}
	switch pg.Code[:min(2, len(pg.Code))] {
	case "08", "53", "57", "58": // connection, resources, an administrator, the system below
		return true
	}
	return pg.Code == "25006" // read-only: it became a replica
}

// pgAgain reports whether a call may come about if it is tried again at once.
func pgAgain(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) && strings.HasPrefix(pg.Code, "40") { // others were quicker
		return true
	}
	return unreachable(err) || pgconn.SafeToRetry(err) || strings.Contains(err.Error(), "conn closed") // pgx has no name for it
}

// pgUnsure reports whether a commit may have come about that ended in this error: the server said nothing.
func pgUnsure(err error) bool {
	var pg *pgconn.PgError
	return !errors.As(err, &pg) || !strings.HasPrefix(pg.Code, "40") // an end of the server may come amid a commit
}
