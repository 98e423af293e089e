package sqlindex

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"time"

	"rastel/policy/quarantine"
)

// markTime is how long the rows of a program that has ended stay.
const markTime = 24 * time.Hour

// transact runs do in a transaction of the writer: as if no other ran at the same time. Where others do, or the
// connection may get lost, it runs do again until it came about, once. It returns quarantine.ErrUnsure if the time
// is over before that is known.
func (x *Index) transact(ctx context.Context, do func(*sql.Tx) error) error {
	ctx, cancel := within(ctx, x.dialect.update)
	defer cancel()
	slot, free, err := x.slot(ctx)
	if err != nil {
		return err
	}
	defer free()
	t := &transaction{Index: x, slot: slot}
	if err = x.again(ctx, func() error { return t.try(ctx, do) }); t.mark != "" && err != nil {
		return fmt.Errorf("%w: %w", quarantine.ErrUnsure, err)
	}
	return err
}

// slot is a row of commit_marks that nobody else uses, or empty where none is needed.
func (x *Index) slot(ctx context.Context) (name string, free func(), err error) {
	if x.slots == nil {
		return "", func() {}, nil
	}
	select {
	case name := <-x.slots:
		return name, func() { x.slots <- name }, nil
	case <-ctx.Done():
		return "", nil, ctx.Err()
	}
}

// A transaction is one call of transact.
type transaction struct {
	*Index
	slot string
	mark string // of the try before, if it is not known whether that came about
}

func (t *transaction) try(ctx context.Context, do func(*sql.Tx) error) error {
	if t.mark != "" {
		if done, err := t.done(ctx); done || err != nil {
			return err
		}
		t.mark = ""
	}
	tx, err := t.write.BeginTx(ctx, &t.dialect.tx)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after a Commit it does nothing
	if err := do(tx); err != nil {
		return err
	}
	if t.slot == "" {
		return tx.Commit()
	}
	mark := rand.Text()
	if _, err := tx.ExecContext(ctx, `INSERT INTO commit_marks (slot, mark, at) VALUES (?, ?, ?)
		ON CONFLICT (slot) DO UPDATE SET mark = EXCLUDED.mark, at = EXCLUDED.at`, t.slot, mark, millis(time.Now())); err != nil {
		return err
	}
	if err = tx.Commit(); err != nil && t.dialect.unsure(err) {
		t.mark = mark
	}
	return err
}

// done reports whether the try before came about. It waits for a server that is still at it.
func (t *transaction) done(ctx context.Context) (bool, error) {
	tx, err := t.write.BeginTx(ctx, nil)
	if err != nil {
		return false, err
	}
	defer tx.Rollback() //nolint:errcheck // nothing was changed
	if _, err := tx.ExecContext(ctx, "INSERT INTO commit_marks (slot, mark, at) VALUES (?, '', 0) ON CONFLICT (slot) DO NOTHING", t.slot); err != nil {
		return false, err // if another writes the row, this waits for it, too
	}
	var mark string
	err = tx.QueryRowContext(ctx, "SELECT mark FROM commit_marks WHERE slot = ?"+t.dialect.lockRow, t.slot).Scan(&mark)
	return mark == t.mark, err
}

// forgetMarks removes the rows of programs that ended long ago.
func (x *Index) forgetMarks(ctx context.Context) error {
	_, err := x.write.ExecContext(ctx, "DELETE FROM commit_marks WHERE at < ?", millis(time.Now().Add(-markTime)))
	return err
}

// makeSlots names the rows of this program.
func makeSlots(n int) chan string {
	slots, owner := make(chan string, n), rand.Text()
	for i := range n {
		slots <- fmt.Sprintf("%s.%d", owner, i)
	}
	return slots
}
