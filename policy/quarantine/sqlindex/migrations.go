package sqlindex

import (
	"io/fs"
	"path"

	"github.com/pressly/goose/v3"
)

// migrationsOf are the files in the folder migrations. For PostgreSQL one of the same name in the folder below
// it stands for one that only SQLite understands: its triggers, its serial numbers.
func migrationsOf(d goose.Dialect) fs.FS {
	if d == goose.DialectPostgres {
		return migrationFiles{"migrations/postgres"}
	}
	return migrationFiles{}
}

type migrationFiles struct{ instead string }

func (m migrationFiles) Open(name string) (fs.File, error) {
	if m.instead != "" {
		if f, err := migrations.Open(path.Join(m.instead, name)); err == nil {
			return f, nil
		}
	}
	return migrations.Open(path.Join("migrations", name))
}

// ReadDir implements fs.ReadDirFS.
func (migrationFiles) ReadDir(name string) ([]fs.DirEntry, error) {
	return migrations.ReadDir(path.Join("migrations", name))
}
