package sqlindex_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rastel/policy/quarantine"
	"rastel/policy/quarantine/quarantinetest"
	"rastel/policy/quarantine/sqlindex"
)

func open(t *testing.T, dir string) quarantine.Index {
	t.Helper()
	x, err := sqlindex.Open(filepath.Join(dir, "index.db"))
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return x
}

func TestIndex(t *testing.T) { quarantinetest.TestIndex(t, open) }

func TestFilesAreOursAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	x := open(t, dir)
	defer x.Close()
	if _, err := x.Put(t.Context(), quarantinetest.Item(1), quarantinetest.Item(1).Created); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) < 3 {
		t.Fatalf("files = %v, %v; want the database, its log and its shared memory", files, err)
	}
	for _, f := range append(files, dir) {
		info, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		if p := info.Mode().Perm(); p&0o077 != 0 {
			t.Errorf("%s has mode %v, want none for others", f, p)
		}
	}
}

// Names with characters that mean something in a URI must not end up elsewhere.
func TestOpensAnyDirectoryName(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a b?c#d%41&mode=memory")
	x := open(t, dir)
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, "index.db"))
	if err != nil || info.Size() == 0 {
		t.Errorf("Stat = %v, %v; want the database there", info, err)
	}
}

func TestRefusesWhatIsNoDatabase(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "index.db")
	if err := os.WriteFile(name, []byte(strings.Repeat("not a database\n", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := sqlindex.Open(name); err == nil || !strings.Contains(err.Error(), name) {
		t.Errorf("Open = %v, want an error that names %s", err, name)
	}
	if _, err := sqlindex.Open(filepath.Join(name, "x")); err == nil {
		t.Error("Open below a file = nil, want an error")
	}
}
