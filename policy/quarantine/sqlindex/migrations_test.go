package sqlindex

import (
	"io/fs"
	"regexp"
	"testing"

	"github.com/pressly/goose/v3"
)

// sqliteOnly is what PostgreSQL does not understand. The server itself has the last word, in contrib/test.
var sqliteOnly = regexp.MustCompile(`(?i)AUTOINCREMENT|RAISE\s*\(|\bBLOB\b|VIRTUAL TABLE|WITHOUT ROWID|INSERT OR |COLLATE NOCASE|strftime|json_each|\bSTRICT\b`)

func TestMigrationsAreForBothDatabases(t *testing.T) {
	of := migrationsOf(goose.DialectPostgres)
	names, err := fs.Glob(of, "*.sql")
	if err != nil || len(names) < 4 {
		t.Fatalf("migrations: %v, %v", names, err)
	}
	for _, n := range names {
		text, err := fs.ReadFile(of, n)
		if err != nil {
			t.Fatal(err)
		}
		if m := sqliteOnly.Find(text); m != nil {
			t.Errorf("%s has %q, which PostgreSQL does not know: put one of the same name for it into migrations/postgres", n, m)
		}
	}
	instead, err := fs.Glob(migrations, "migrations/postgres/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range instead {
		if _, err := fs.Stat(migrations, "migrations"+n[len("migrations/postgres"):]); err != nil {
			t.Errorf("%s stands for nothing: %v", n, err)
		}
	}
}
