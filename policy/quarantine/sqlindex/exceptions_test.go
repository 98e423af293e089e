package sqlindex_test

import (
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rastel/policy/exceptions"
	"rastel/policy/quarantine/sqlindex"
)

func openTable(t *testing.T, dir string) *sqlindex.Index {
	t.Helper()
	x, err := sqlindex.Open(filepath.Join(dir, "index.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.Close() })
	return x
}

func entry(what, id, by string, n int) exceptions.Entry {
	at := time.Date(2026, 11, 25, 12, n, 0, 0, time.UTC)
	return exceptions.Entry{At: at, By: by, What: what, Exception: exceptions.Exception{
		ID: id, Scope: exceptions.Scope{Sender: "example.org", Recipient: "@example.net", SHA256: "11", Rule: "it's", Check: "html/*"}, Owner: "ann", Reason: fmt.Sprint("reason ", n), Until: "2026-12-31",
		Created: at, CreatedBy: by, Changed: at, ChangedBy: by,
	}}
}

// TestExceptionsOfMacrosAreNoneForTheVersionBefore: it has no such scope, and must not take the rest of one for all of it.
func TestExceptionsOfMacrosAreNoneForTheVersionBefore(t *testing.T) {
	dir := t.TempDir()
	x := openTable(t, dir)
	for i, what := range []string{exceptions.Created, exceptions.Updated} {
		e := entry(what, "A", "ann", i)
		sum := strings.Repeat(fmt.Sprint(i), 64)
		e.Exception.SHA256, e.Exception.Macros = "", sum
		if err := x.ChangeException(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		if list, err := x.Exceptions(t.Context()); err != nil || len(list) != 1 || list[0].Macros != sum || list[0].SHA256 != "" {
			t.Errorf("%s: %+v, %v", what, list, err)
		}
		if log, err := x.ExceptionLog(t.Context(), "A", 1); err != nil || len(log) != 1 || log[0].Exception.Macros != sum {
			t.Errorf("%s: log %+v, %v", what, log, err)
		}
		db, err := sql.Open("sqlite", filepath.Join(dir, "index.db"))
		if err != nil {
			t.Fatal(err)
		}
		var got string
		err = db.QueryRowContext(t.Context(), "SELECT sha256 FROM exceptions WHERE id = 'A'").Scan(&got)
		if db.Close(); err != nil || got != "macros:"+sum {
			t.Errorf("%s: the version before reads the hash %q, %v; want one that no content has", what, got, err)
		}
	}
}

func TestExceptionsAreKeptAndLogged(t *testing.T) {
	dir := t.TempDir()
	testExceptions(t, func() *sqlindex.Index { return openTable(t, dir) })
}

// testExceptions is for every database.
func testExceptions(t *testing.T, open func() *sqlindex.Index) {
	x := open()
	ctx := t.Context()
	var want []exceptions.Entry
	for i, c := range []exceptions.Entry{entry(exceptions.Created, "B", "ann", 0), entry(exceptions.Created, "A", "bob", 1), entry(exceptions.Updated, "B", "eve", 2), entry(exceptions.Deleted, "A", "eve", 3)} {
		if err := x.ChangeException(ctx, c); err != nil {
			t.Fatal(err)
		}
		c.Serial = int64(i + 1)
		want = append([]exceptions.Entry{c}, want...)
	}
	if err := x.HitExceptions(ctx, []exceptions.Hit{{ID: "B", Count: 2, Last: time.UnixMilli(2000).UTC()}, {ID: "gone", Count: 1}, {ID: "B", Count: 1, Last: time.UnixMilli(1000).UTC()}}); err != nil {
		t.Fatal(err)
	}
	x.Close()
	x = open()
	got, err := x.ExceptionLog(ctx, "", 10)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("log: %v\n%s", err, diff)
	}
	if got, err := x.ExceptionLog(ctx, "A", 1); err != nil || len(got) != 1 || got[0].What != exceptions.Deleted {
		t.Errorf("log of A: %+v, %v; want that it was deleted", got, err)
	}
	list, err := x.Exceptions(ctx)
	b := want[1].Exception
	b.Hits, b.LastHit, b.Created, b.CreatedBy = 3, time.UnixMilli(2000).UTC(), entry("", "", "", 0).At, "ann"
	if diff := cmp.Diff([]exceptions.Exception{b}, list); err != nil || diff != "" {
		t.Errorf("exceptions: %v\n%s", err, diff)
	}
	for what, c := range map[string]exceptions.Entry{"update": entry(exceptions.Updated, "C", "", 1), "delete": entry(exceptions.Deleted, "A", "", 1)} {
		if err := x.ChangeException(ctx, c); !errors.Is(err, exceptions.ErrNotFound) {
			t.Errorf("%s of what is not there: %v", what, err)
		}
	}
	if err := x.ChangeException(ctx, entry("forget", "B", "", 1)); err == nil {
		t.Error("an unknown change is made")
	}
	if got, _ := x.ExceptionLog(ctx, "", 10); len(got) != len(want) {
		t.Errorf("%d entries after changes that failed, want %d", len(got), len(want))
	}
}

// TestLogOfExceptionsIsOnlyAddedTo: not even who has the database open by mistake changes it.
func TestLogOfExceptionsIsOnlyAddedTo(t *testing.T) {
	dir := t.TempDir()
	x := openTable(t, dir)
	if err := x.ChangeException(t.Context(), entry(exceptions.Created, "A", "ann", 0)); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", filepath.Join(dir, "index.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, statement := range []string{"DELETE FROM exception_log", "UPDATE exception_log SET changed_by = 'nobody'"} {
		if _, err := db.ExecContext(t.Context(), statement); err == nil || !strings.Contains(err.Error(), "only added to") {
			t.Errorf("%s: %v", statement, err)
		}
	}
}

func TestExceptionsHaveALimit(t *testing.T) {
	dir := t.TempDir()
	x := openTable(t, dir)
	db, err := sql.Open("sqlite", filepath.Join(dir, "index.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
		INSERT INTO exceptions SELECT printf('%08d', i), 'example.org', '', '', 'r', '', 'o', 'r', '2026-12-31', 0, '', 0, '', 0, 0 FROM n`, exceptions.Max+5); err != nil {
		t.Fatal(err)
	}
	if err := x.ChangeException(t.Context(), entry(exceptions.Created, "A", "", 0)); !errors.Is(err, exceptions.ErrFull) {
		t.Errorf("one more: %v, want ErrFull", err)
	}
	if list, err := x.Exceptions(t.Context()); err != nil || len(list) != exceptions.Max {
		t.Errorf("%d exceptions, %v; want %d", len(list), err, exceptions.Max)
	}
}
