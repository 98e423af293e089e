package sqlindex_test

import (
	"database/sql"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/pressly/goose/v3"

	"rastel/policy/quarantine/quarantinetest"
)

// TestVersionBeforeStillWorks: a program that knows the first migration only opens a database of today, and
// writes items that have what it knows of.
func TestVersionBeforeStillWorks(t *testing.T) {
	dir := t.TempDir()
	x := open(t, dir)
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", filepath.Join(dir, "index.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	const name = "00001_items.sql"
	first, err := os.ReadFile(filepath.Join("migrations", name))
	if err != nil {
		t.Fatal(err)
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, fstest.MapFS{name: {Data: first}})
	if err != nil {
		t.Fatal(err)
	}
	if done, err := p.Up(t.Context()); err != nil || len(done) > 0 {
		t.Fatalf("the version before migrates %v, %v; want nothing", done, err)
	}
	it := quarantinetest.Item(1)
	if _, err := db.ExecContext(t.Context(), `INSERT INTO items (id, created, expires, queue_id, session, client, client_name, helo, auth_user,
		sender, sender_args, recipients, subject, from_field, message_id, rule, policy, reason, findings, is_copy, size, sha256, digest,
		envelope_key, stored, state, changed, changed_by, note, release_to, lease, attempt, sender_keys, recipient_keys, search)
		VALUES (?, 1, 2, '', '', '', '', '', '', 'a@b.example', '', '', '', '', '', '', '', '', '', 0, 1, '', '', 'k', 1, 'held', 1, '', '', '', 0, '', '', '', '')`, it.ID); err != nil {
		t.Fatalf("the version before writes: %v", err)
	}
	x = open(t, dir)
	defer x.Close()
	if got, err := x.Get(t.Context(), it.ID); err != nil || got.Sender != "a@b.example" || got.Class != "" {
		t.Errorf("Get of an item of the version before = %+v, %v", got, err)
	}
}
