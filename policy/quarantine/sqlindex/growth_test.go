package sqlindex

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/pressly/goose/v3"

	"rastel/contrib/rig"
	"rastel/policy/quarantine"
	"rastel/policy/quarantine/quarantinetest"
)

// To measure: go test ./policy/quarantine/sqlindex -run Growth -items 1000000 -v -timeout 3h; with RASTEL_E2E=1 in
// PostgreSQL too.
var growthItems = flag.Int("items", 3000, "how many items TestGrowth searches among")

// growthRepeat is how often each question is asked.
const growthRepeat = 20

// A mill makes items that differ as those of a year of mail do: many senders, few recipients' domains.
type mill struct {
	*rand.Rand
	at    time.Time
	words []string
}

func newMill() *mill {
	m := &mill{Rand: rand.New(rand.NewPCG(1, 2)), at: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	for range 50_000 {
		b := make([]byte, 3+m.IntN(8))
		for i := range b {
			b[i] = "eeeeetttaaoooiinnsshhrrdlcumwfgypbvkjxqz"[m.IntN(40)]
		}
		m.words = append(m.words, string(b))
	}
	return m
}

// word is one of few or of many: the square of chance.
func (m *mill) word() string { f := m.Float64(); return m.words[int(f*f*float64(len(m.words)))] }

func (m *mill) item(n int) *quarantine.Item {
	m.at = m.at.Add(time.Duration(m.IntN(6000)) * time.Millisecond)
	it := quarantinetest.Item(0)
	it.ID, it.Created, it.Changed, it.Expires = quarantinetest.ID(m.at), m.at, m.at, m.at.Add(30*24*time.Hour)
	it.Key, it.SHA256, it.QueueID = fmt.Sprint("key", n), fmt.Sprintf("%064x", m.Uint64()), fmt.Sprintf("4%09X", m.Uint32())
	it.Sender = m.word() + "@" + m.word() + ".example"
	it.From = m.word() + " " + m.word() + " <" + it.Sender + ">"
	it.Recipients = []string{m.words[m.IntN(2000)] + "@our" + fmt.Sprint(m.IntN(5)) + ".example"}
	it.Subject = strings.Join([]string{m.word(), m.word(), m.word(), m.word()}, " ")
	it.MessageID = fmt.Sprintf("<%x@%s.example>", m.Uint64(), m.word())
	it.Names = []string{m.word() + "_" + m.word() + ".pdf"}
	it.Findings = []quarantine.Finding{{Check: "clamd/malware", Part: "1.2", Detail: "Win.Trojan." + m.word()}}
	it.Class = []string{"spam", "spam", "spam", "viruses", "rare"}[min(4, m.IntN(1000)/249)]
	if it.State = quarantine.Expired; m.IntN(12) == 0 {
		it.State = quarantine.Held
	}
	it.Stored = it.State == quarantine.Held
	return it
}

// questions are what administrators ask. Each is for another item, so that not all comes from memory.
func questions(m *mill, n int) map[string]func() quarantine.Filter {
	type f = quarantine.Filter
	return map[string]func() f{
		"all, newest":                  func() f { return f{} },
		"all, a page in the middle":    func() f { return f{Cursor: quarantinetest.ID(m.middle())} },
		"state held":                   func() f { return f{State: quarantine.Held, NotClass: "sample"} },
		"state held, in the middle":    func() f { return f{State: quarantine.Held, Cursor: quarantinetest.ID(m.middle())} },
		"class rare":                   func() f { return f{Class: "rare"} },
		"class rare, state held":       func() f { return f{Class: "rare", State: quarantine.Held} },
		"since the last hour":          func() f { return f{Since: m.at.Add(-time.Hour)} },
		"since tomorrow":               func() f { return f{Since: m.at.Add(time.Hour)} },
		"recipient":                    func() f { return f{Recipient: m.words[m.IntN(2000)] + "@our1.example"} },
		"recipient's domain":           func() f { return f{Recipient: "@our2.example"} },
		"sender's domain":              func() f { return f{Sender: "@" + m.word() + ".example"} },
		"sender of none":               func() f { return f{Sender: "nobody@nowhere.example"} },
		"text that is an address":      func() f { return f{Text: m.words[m.IntN(2000)] + "@our3.example"} },
		"text of common parts":         func() f { return f{Text: "malware win.trojan.the example"} },
		"text in all":                  func() f { return f{Text: "trojan"} },
		"text in all, state held":      func() f { return f{Text: "example", State: quarantine.Held} },
		"text in some":                 func() f { return f{Text: m.word() + " " + m.words[m.IntN(100)]} },
		"text in some, state held":     func() f { return f{Text: m.word(), State: quarantine.Held} },
		"text in none":                 func() f { return f{Text: "zzqqxxjj"} },
		"text of an attachment's name": func() f { return f{Text: m.words[m.IntN(len(m.words))] + "_" + m.word()} },
		"text and sender's domain":     func() f { w := m.word(); return f{Text: "trojan." + m.word(), Sender: "@" + w + ".example"} },
	}
}

// middle is a time in the middle of the items.
func (m *mill) middle() time.Time {
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	return begin.Add(time.Duration(m.Int64N(int64(m.at.Sub(begin)) + 1)))
}

func TestGrowth(t *testing.T) {
	name := filepath.Join(t.TempDir(), "index.db")
	m := newMill()
	fillBefore(t, name, m, *growthItems)
	begin := time.Now()
	x, err := openStill(name)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	t.Logf("SQLite: %d items of the version before: opened in %v", *growthItems, time.Since(begin))
	// Half searchable, half not yet: the same is found.
	below, batch := 0, searchBatch
	if *growthItems > 20_000 {
		batch = 500 // nobody else wants to write
	}
	for begin = time.Now(); ; {
		n, err := x.searchSome(t.Context(), batch)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
		if below += n; below/searchBatch == min(*growthItems, 3000)/searchBatch/2 {
			sameAnswers(t, x, m)
		}
	}
	t.Logf("SQLite: %d items made searchable in %v, without pauses, %d at a time", below, time.Since(begin), batch)
	if below != *growthItems {
		t.Errorf("%d items are searchable, want %d", below, *growthItems)
	}
	sameAnswers(t, x, m)
	measure(t, x, m, "SQLite")
	if info, err := os.Stat(name); err == nil {
		t.Logf("SQLite: %d MB", info.Size()>>20)
	}
}

// openStill opens an index whose items nobody makes searchable behind the back of the test.
func openStill(name string) (*Index, error) {
	x, err := Open(name)
	if err == nil {
		x.searcher.close()
		x.searcher = nil
	}
	return x, err
}

// fillBefore makes a database that the version before has filled.
func fillBefore(t *testing.T, name string, m *mill, n int) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+name+"?_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	p, err := goose.NewProvider(goose.DialectSQLite3, db, migrationsOf(goose.DialectSQLite3))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.UpTo(t.Context(), searchMigration-1); err != nil {
		t.Fatal(err)
	}
	before := strings.Replace(insert, ", names", "", 1)
	before = strings.Replace(before, "?, ", "", 1)
	at := slices.Index(strings.Split(strings.Join(strings.Fields(columns), " "), ", "), "names")
	for done := 0; done < n; {
		tx, err := db.Begin()
		if err != nil {
			t.Fatal(err)
		}
		for range min(5000, n-done) {
			it := m.item(done)
			args := append(values(it), keys(it)...)
			if _, err := tx.Exec(before, slices.Delete(args, at, at+1)...); err != nil {
				t.Fatal(err)
			}
			done++
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
	}
}

// sameAnswers wants each question answered as reading through all items would.
func sameAnswers(t *testing.T, x *Index, m *mill) {
	t.Helper()
	if *growthItems > 20_000 {
		return // that is for the small number
	}
	for name, question := range questions(m, *growthItems) {
		f := question()
		f.Limit = 7
		got, err := x.List(t.Context(), f)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want, err := x.scanned(t.Context(), f, "")
		if err != nil {
			t.Fatal(err)
		}
		if !slices.EqualFunc(got, want, func(a, b quarantine.Item) bool { return a.ID == b.ID }) {
			t.Errorf("%s: List(%+v) = %d items, want %d, or others", name, f, len(got), len(want))
		}
	}
}

// measure logs how long answers take: nobody fails for it.
func measure(t *testing.T, x *Index, m *mill, database string) {
	t.Helper()
	for name, question := range questions(m, *growthItems) {
		var took []time.Duration
		found := 0
		for range growthRepeat {
			f := question()
			f.Limit = 100
			begin := time.Now()
			items, err := x.List(t.Context(), f)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			took = append(took, time.Since(begin))
			found += len(items)
		}
		slices.Sort(took)
		t.Logf("%s: %-30s p50 %-10v p99 %-10v %d found", database, name, took[len(took)/2].Round(10*time.Microsecond), took[len(took)-1].Round(10*time.Microsecond), found/growthRepeat)
	}
}

func TestGrowthInPostgres(t *testing.T) {
	if os.Getenv("RASTEL_E2E") != "1" {
		t.Skip("needs a PostgreSQL; run contrib/test")
	}
	p, err := rig.StartPostgres("shared_buffers=512MB", "maintenance_work_mem=512MB", "max_wal_size=4GB")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop() // nothing depends on it
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte(rig.PostgresPassword), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := quarantine.IndexConfig{Postgres: p.URL("postgres"), PasswordFile: password}.WithDefaults()
	x, err := OpenPostgres(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	x.stop() // it makes indexes
	m := newMill()
	conf, err := pgConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, index := range pgSearch {
		if _, err := x.write.ExecContext(t.Context(), "DROP INDEX IF EXISTS "+index.name); err != nil {
			t.Fatal(err)
		}
	}
	begin := time.Now()
	fillPostgres(t, conf.Copy(), m)
	t.Logf("PostgreSQL: filled in %v", time.Since(begin))
	begin = time.Now()
	makePgSearch(t.Context(), conf)
	t.Logf("PostgreSQL: indexes made in %v", time.Since(begin))
	sameAnswers(t, x, m)
	measure(t, x, m, "PostgreSQL")
}

func fillPostgres(t *testing.T, conf *pgx.ConnConfig, m *mill) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	delete(conf.RuntimeParams, "statement_timeout")
	conn, err := pgx.ConnectConfig(ctx, conf)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	names := strings.Split(strings.Join(strings.Fields(columns+", sender_keys, recipient_keys, search"), " "), ", ")
	n := 0
	_, err = conn.CopyFrom(ctx, pgx.Identifier{"items"}, names, pgx.CopyFromFunc(func() ([]any, error) {
		if n == *growthItems {
			return nil, nil
		}
		n++
		it := m.item(n)
		return append(values(it), keys(it)...), nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(ctx, "VACUUM ANALYZE items"); err != nil {
		t.Fatal(err)
	}
}
