package sqlindex

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"rastel/policy/quarantine"
)

const (
	// searchBatch is how many items one transaction makes searchable: others wait for it.
	searchBatch = 16
	// gatherTime is how long new items are left to come together.
	gatherTime = 250 * time.Millisecond
	// searchShare is how much longer than it works the indexer lets others work.
	searchShare = 3
	// searchEvery is how often it looks for what another program has written.
	searchEvery = 5 * time.Second
	// maxTrigrams is how many parts of a text are looked up. What has them is compared whole.
	maxTrigrams = 32
	// fewItems is how many items are rather read than searched.
	fewItems = 1000
)

// A searcher makes the items of an SQLite database searchable behind the back of those who write them: to do so
// costs a multiple of what writing costs. What it has not come to yet is in search_todo, or older than search_state
// says, and is read through by List. So a database of the version before is opened at once, and is searchable
// all the time.
type searcher struct {
	wake chan struct{}
	stop context.CancelFunc
	done sync.WaitGroup
}

// startSearch begins to make items searchable, until its stop.
func (x *Index) startSearch() {
	ctx, cancel := context.WithCancel(context.Background())
	x.searcher = &searcher{wake: make(chan struct{}, 1), stop: cancel}
	x.searcher.done.Go(func() { x.search(ctx) })
}

func (s *searcher) close() {
	if s != nil {
		s.stop()
		s.done.Wait()
	}
}

// written says that there is an item to make searchable.
func (s *searcher) written() {
	if s == nil {
		return
	}
	select {
	case s.wake <- struct{}{}:
	default: // it knows already
	}
}

func (x *Index) search(ctx context.Context) {
	for {
		begin := time.Now()
		n, err := x.searchSome(ctx, searchBatch)
		pause := searchShare * time.Since(begin)
		if err == nil && n == 0 || err != nil {
			select {
			case <-ctx.Done():
				return
			case <-x.searcher.wake:
			case <-time.After(searchEvery):
			}
			pause = gatherTime
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

var searchInsert = "INSERT INTO items_search (rowid, s, r, t) SELECT " + searchKey("id") + ", sender_keys, recipient_keys, search FROM items WHERE "

// searchSome makes some items searchable, new ones first, then those of a version before, the newest first. It keeps
// nobody else from writing if there are none.
func (x *Index) searchSome(ctx context.Context, most int) (n int, err error) {
	var some bool
	err = x.read.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM search_todo) OR below <> '' FROM search_state").Scan(&some)
	if err != nil || !some {
		return 0, err
	}
	err = x.transact(ctx, func(tx *sql.Tx) error {
		n, err = x.searchNew(ctx, tx, most)
		if n == 0 && err == nil {
			n, err = x.searchOld(ctx, tx, most)
		}
		return err
	})
	return n, err
}

func (x *Index) searchNew(ctx context.Context, tx *sql.Tx, most int) (int, error) {
	const some = "(SELECT id FROM search_todo ORDER BY id LIMIT ?)"
	if _, err := tx.ExecContext(ctx, searchInsert+"id IN "+some, most); err != nil {
		return 0, err
	}
	return count(tx.ExecContext(ctx, "DELETE FROM search_todo WHERE id IN "+some, most))
}

func (x *Index) searchOld(ctx context.Context, tx *sql.Tx, most int) (int, error) {
	below, err := searchBelow(ctx, tx)
	if err != nil || below == "" {
		return 0, err
	}
	var first string
	err = tx.QueryRowContext(ctx, "SELECT COALESCE(MIN(id), '') FROM (SELECT id FROM items WHERE id < ? ORDER BY id DESC LIMIT ?)", below, most).Scan(&first)
	if err != nil {
		return 0, err
	}
	if _, err := tx.ExecContext(ctx, "UPDATE search_state SET below = ?", first); err != nil || first == "" {
		return 0, err
	}
	return count(tx.ExecContext(ctx, searchInsert+"id >= ? AND id < ?", first, below))
}

// searchBelow is the id below which items are not searchable yet; empty if all are.
func searchBelow(ctx context.Context, q querier) (below string, err error) {
	err = q.QueryRowContext(ctx, "SELECT below FROM search_state").Scan(&below)
	return below, err
}

func count(res sql.Result, err error) (int, error) {
	if err != nil {
		return 0, err
	}
	n, err := res.RowsAffected()
	return int(n), err
}

// base32 are the digits of ULIDs (Crockford's).
const base32 = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// searchMigration is the one that makes the tables of this file.
const searchMigration = 7

// keyFrom and keyTo are the digits of an id that make its row in items_search, and so its place there: from the second, as the
// first is 0 and the second less than 8 until the year 2248, to the fourth of its chance. That two ids have the same is rare, and does no harm.
const keyFrom, keyTo = 2, 14

// searchKey is the row of an id, as SQL. The shifts end below the sign.
func searchKey(id string) string {
	var terms []string
	for i := keyFrom; i <= keyTo; i++ {
		terms = append(terms, fmt.Sprintf("((instr('%s', substr(%s, %d, 1)) - 1 & %d) << %d)", base32, id, i, keyMask(i), 5*(keyTo-i)))
	}
	return "(" + strings.Join(terms, " + ") + ")"
}

// keyMask takes from the first digit what has no room in 63 bits.
func keyMask(i int) int64 {
	if i == keyFrom {
		return 7
	}
	return 31
}

// keyOf is searchKey of an id.
func keyOf(id string) int64 {
	var k int64
	for i := keyFrom; i <= keyTo && i <= len(id); i++ {
		k += (int64(max(0, strings.IndexByte(base32, id[i-1]))) & keyMask(i)) << (5 * (keyTo - i))
	}
	return k
}

// searchPrefix is how the ids of a row begin, as SQL.
func searchPrefix(key string) string {
	digits := []string{"'0'"}
	for i := keyFrom; i <= keyTo; i++ {
		digits = append(digits, fmt.Sprintf("substr('%s', (%s >> %d & 31) + 1, 1)", base32, key, 5*(keyTo-i)))
	}
	return "(" + strings.Join(digits, " || ") + ")"
}

// A term is three characters in a row, quoted, in a column of items_search.
type term struct {
	column, text string
	every        int64 // about how far apart the rows are that have it; the newest of them, at least
}

// searchTerms are those of what a filter looks for; none if that cannot be looked up.
func searchTerms(f quarantine.Filter) []term {
	var all []term
	for _, t := range []struct{ column, text string }{
		{"s", addressKey(f.Sender)}, {"r", addressKey(f.Recipient)}, {"t", fold(f.Text)},
	} {
		for _, text := range trigrams(t.text) {
			all = append(all, term{column: t.column, text: text})
		}
	}
	return all
}

const (
	// probeRows is how many rows of a term are looked at to tell how rare it is.
	probeRows = 32
	// rareTerms is how many terms are looked up: the rarest. To bring the lists of all of them together costs as
	// much as the longest has, and what is found is compared whole anyhow.
	rareTerms = 4
)

// rarest is the query for the rarest of the terms.
func (x *Index) rarest(ctx context.Context, terms []term) (string, error) {
	for i := range terms {
		t := &terms[i]
		var n, last, first int64
		err := x.read.QueryRowContext(ctx, `SELECT COUNT(*), COALESCE(MAX(k), 0), COALESCE(MIN(k), 0) FROM
			(SELECT rowid AS k FROM items_search WHERE items_search MATCH ? ORDER BY rowid DESC LIMIT ?)`, t.query(), probeRows).Scan(&n, &last, &first)
		if err != nil {
			return "", err
		}
		if t.every = (last - first) / probeRows; n < probeRows {
			t.every = math.MaxInt64 - n // these are all that there are
		}
	}
	slices.SortStableFunc(terms, func(a, b term) int { return cmp.Compare(b.every, a.every) })
	var list []string
	for _, t := range terms[:min(rareTerms, len(terms))] {
		list = append(list, t.query())
	}
	return strings.Join(list, " AND "), nil
}

func (t *term) query() string { return t.column + " : " + t.text }

// trigrams are the different three characters in a row of a text, quoted.
func trigrams(text string) []string {
	var list []string
	runes := []rune(text)
	for i := 0; i+3 <= len(runes) && len(list) < maxTrigrams; i++ {
		part := `"` + strings.ReplaceAll(string(runes[i:i+3]), `"`, `""`) + `"`
		if !slices.Contains(list, part) {
			list = append(list, part)
		}
	}
	return list
}

// searched lists what matches, of a database that is searchable.
func (x *Index) searched(ctx context.Context, f quarantine.Filter, terms []term) ([]quarantine.Item, error) {
	if few, err := x.few(ctx, f); err != nil || few {
		if err != nil {
			return nil, err
		}
		return x.scanned(ctx, f, "")
	}
	// In this order: what becomes searchable meanwhile is then found twice, not never.
	items, err := x.scanned(ctx, f, "id IN (SELECT id FROM search_todo)")
	if err != nil {
		return nil, err
	}
	below, err := searchBelow(ctx, x.read)
	if err != nil {
		return nil, err
	}
	match, err := x.rarest(ctx, terms)
	if err != nil {
		return nil, err
	}
	found, err := x.lookUp(ctx, f, match)
	if err != nil {
		return nil, err
	}
	items = newest(append(items, found...), f.Limit)
	if below == "" || len(items) == f.Limit && items[len(items)-1].ID > below {
		return items, nil
	}
	if f.Cursor == "" || below < f.Cursor {
		f.Cursor = below
	}
	old, err := x.scanned(ctx, f, "")
	return newest(append(items, old...), f.Limit), err
}

// few reports whether the rest of the filter leaves so few items that they are better read.
func (x *Index) few(ctx context.Context, f quarantine.Filter) (bool, error) {
	f = quarantine.Filter{State: f.State, Class: f.Class, Since: f.Since, Cursor: f.Cursor}
	where, args := conditions(f)
	var n int
	err := x.read.QueryRowContext(ctx, "SELECT COUNT(*) FROM (SELECT 1 FROM items WHERE "+where+" LIMIT ?)", append(args, fewItems+1)...).Scan(&n)
	return n <= fewItems, err
}

// lookUp finds by items_search what matches, the newest first, and compares the whole of it.
func (x *Index) lookUp(ctx context.Context, f quarantine.Filter, match string) ([]quarantine.Item, error) {
	where, args := conditions(f)
	first, last := int64(0), int64(math.MaxInt64)
	if f.Cursor != "" {
		last = keyOf(f.Cursor)
	}
	if !f.Since.IsZero() {
		first = keyOf(firstID(f.Since))
	}
	return x.query(ctx, "SELECT "+columns+" FROM items_search CROSS JOIN items ON items.id > "+lookUpPrefix+" AND items.id < "+lookUpPrefix+` || '~'
		WHERE items_search MATCH ? AND items_search.rowid BETWEEN ? AND ? AND `+where+" ORDER BY items_search.rowid DESC LIMIT ?",
		append(append([]any{match, first, last}, args...), f.Limit)...)
}

var lookUpPrefix = searchPrefix("items_search.rowid")

// newest are the first of a list, each once.
func newest(items []quarantine.Item, limit int) []quarantine.Item {
	slices.SortStableFunc(items, func(a, b quarantine.Item) int { return cmp.Compare(b.ID, a.ID) })
	items = slices.CompactFunc(items, func(a, b quarantine.Item) bool { return a.ID == b.ID })
	return items[:min(limit, len(items))]
}

// sinceMargin is how much older than its item an id may be: it is made before the message is examined.
const sinceMargin = 24 * time.Hour

// firstID is how the first id begins that an item created at t may have.
func firstID(t time.Time) string {
	ms := max(0, t.Add(-sinceMargin).UnixMilli())
	var b [10]byte
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = base32[ms&31]
		ms >>= 5
	}
	return string(b[:])
}
