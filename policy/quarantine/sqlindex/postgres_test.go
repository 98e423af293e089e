package sqlindex_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"rastel/contrib/rig"
	"rastel/policy/quarantine"
	"rastel/policy/quarantine/quarantinetest"
	"rastel/policy/quarantine/sqlindex"
)

// startPostgres starts a server, for contrib/test only: it takes seconds.
func startPostgres(t *testing.T, settings ...string) *rig.Postgres {
	t.Helper()
	if os.Getenv("RASTEL_E2E") != "1" {
		t.Skip("needs a PostgreSQL; run contrib/test")
	}
	p, err := rig.StartPostgres(settings...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Errorf("stop PostgreSQL: %v", err)
		}
	})
	return p
}

// database is the configuration for a database of a server.
func database(t *testing.T, p *rig.Postgres, name string) quarantine.IndexConfig {
	t.Helper()
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte(rig.PostgresPassword+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return quarantine.IndexConfig{Postgres: p.URL(name), PasswordFile: password, Wait: 2 * time.Second}.WithDefaults()
}

func openPostgres(t *testing.T, cfg quarantine.IndexConfig) *sqlindex.Index {
	t.Helper()
	x, err := sqlindex.OpenPostgres(cfg)
	if err != nil {
		t.Fatalf("OpenPostgres: %v", err)
	}
	return x
}

func TestPostgresIndex(t *testing.T) {
	p := startPostgres(t)
	var mu sync.Mutex
	databases := map[string]string{}
	quarantinetest.TestIndex(t, func(t *testing.T, dir string) quarantine.Index {
		mu.Lock()
		defer mu.Unlock()
		if databases[dir] == "" {
			databases[dir] = fmt.Sprintf("test%d", len(databases))
			if err := p.CreateDatabase(databases[dir]); err != nil {
				t.Fatal(err)
			}
		}
		return openPostgres(t, database(t, p, databases[dir]))
	})
}

// connect is a connection of our own to the server.
func connect(t *testing.T, p *rig.Postgres) *pgx.Conn {
	t.Helper()
	conf, err := pgx.ParseConfig(p.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	conf.Password = rig.PostgresPassword
	conn, err := pgx.ConnectConfig(t.Context(), conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

func TestPostgresExceptions(t *testing.T) {
	p := startPostgres(t)
	testExceptions(t, func() *sqlindex.Index {
		x := openPostgres(t, database(t, p, "postgres"))
		t.Cleanup(func() { x.Close() })
		return x
	})
	conn := connect(t, p)
	for _, statement := range []string{"DELETE FROM exception_log", "UPDATE exception_log SET changed_by = 'nobody'", "TRUNCATE exception_log"} {
		if _, err := conn.Exec(t.Context(), statement); err == nil || !strings.Contains(err.Error(), "only added to") {
			t.Errorf("%s: %v", statement, err)
		}
	}
}

// What was asked for comes about though the server is started anew meanwhile; what was answered is there.
func TestPostgresIsStartedAnew(t *testing.T) {
	p := startPostgres(t)
	x := openPostgres(t, database(t, p, "postgres"))
	defer x.Close()
	first := quarantinetest.Item(1)
	if _, err := x.Put(t.Context(), first, first.Created); err != nil {
		t.Fatal(err)
	}
	var updates sync.WaitGroup
	counts := make([]int, 8)
	for n := range counts {
		updates.Go(func() {
			for range 40 {
				_, err := x.Update(t.Context(), first.ID, func(it *quarantine.Item) error { it.Tries++; return nil })
				if err != nil {
					t.Errorf("Update: %v", err)
					return
				}
				counts[n]++
			}
		})
	}
	for range 2 {
		time.Sleep(100 * time.Millisecond) // somewhere amid the updates, where does not matter
		if err := p.Restart(); err != nil {
			t.Fatal(err)
		}
	}
	updates.Wait()
	sum := 0
	for _, n := range counts {
		sum += n
	}
	if it, err := x.Get(t.Context(), first.ID); err != nil || it.Tries != sum {
		t.Errorf("after %d updates Get = %+v, %v", sum, it, err)
	}
}

// A server that hangs is not waited for longer than was said.
func TestPostgresHangs(t *testing.T) {
	p := startPostgres(t)
	cfg := database(t, p, "postgres")
	cfg.Wait = time.Second
	x := openPostgres(t, cfg)
	defer x.Close()
	if err := p.Pause(); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	_, err := x.Put(t.Context(), quarantinetest.Item(1), quarantinetest.Item(1).Created)
	took := time.Since(begin)
	if rerr := p.Resume(); rerr != nil {
		t.Fatal(rerr)
	}
	if err == nil {
		t.Error("Put with a server that hangs = nil")
	}
	t.Logf("gave up after %v", took)
	if _, err := x.Put(t.Context(), quarantinetest.Item(1), quarantinetest.Item(1).Created); err != nil {
		t.Errorf("Put after it: %v", err)
	}
}

// A server that is away when the program starts is used once it is there.
func TestPostgresComesLater(t *testing.T) {
	p := startPostgres(t)
	p.Kill()
	x := openPostgres(t, database(t, p, "postgres"))
	defer x.Close()
	it := quarantinetest.Item(1)
	if _, err := x.Put(t.Context(), it, it.Created); err == nil {
		t.Error("Put without a server = nil")
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	for giveUp := time.Now().Add(time.Minute); ; {
		_, err := x.Put(t.Context(), it, it.Created)
		if err == nil {
			return
		}
		if time.Now().After(giveUp) {
			t.Fatalf("Put with the server back: %v", err)
		}
		time.Sleep(50 * time.Millisecond) // another process
	}
}

// The indexes that text is searched by are there soon, also if one is missing or of no use.
func TestPostgresMakesItsIndexes(t *testing.T) {
	p := startPostgres(t)
	cfg := database(t, p, "postgres")
	conn := connect(t, p)
	for _, before := range []string{"", "DROP INDEX items_text_trgm", "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'items_sender_trgm'::regclass"} {
		if _, err := conn.Exec(t.Context(), before); err != nil {
			t.Fatal(err)
		}
		x := openPostgres(t, cfg)
		for giveUp := time.Now().Add(time.Minute); ; {
			var n int
			err := conn.QueryRow(t.Context(), "SELECT count(*) FROM pg_index JOIN pg_class ON oid = indexrelid WHERE indisvalid AND relname LIKE 'items%trgm' OR indisvalid AND relname = 'items_sender_hash'").Scan(&n)
			if err != nil {
				t.Fatal(err)
			}
			if n == 4 {
				break
			}
			if time.Now().After(giveUp) {
				t.Fatalf("after %q: %d of 4 indexes", before, n)
			}
			time.Sleep(20 * time.Millisecond) // another process
		}
		// None of them keeps an item out whose addresses are as long as they may be.
		it := quarantinetest.Item(len(before))
		it.Sender, it.Recipients = longAddress(), []string{longAddress(), longAddress()}
		if _, err := x.Put(t.Context(), it, it.Created); err != nil {
			t.Errorf("Put with long addresses: %v", err)
		}
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	}
}

// longAddress has 4 KB that cannot be packed.
func longAddress() string {
	var b strings.Builder
	for b.Len() < 4000 {
		b.WriteString(rand.Text())
	}
	return b.String() + "@example.org"
}

func TestPostgresRefusesAWrongPassword(t *testing.T) {
	p := startPostgres(t)
	cfg := database(t, p, "postgres")
	if err := os.WriteFile(cfg.PasswordFile, []byte("wrong"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := sqlindex.OpenPostgres(cfg); err == nil || strings.Contains(err.Error(), "wrong\"") {
		t.Errorf("OpenPostgres = %v, want an error without the password", err)
	}
}
