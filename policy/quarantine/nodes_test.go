package quarantine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"rastel/contrib/rig"
	"rastel/policy/quarantine"
	"rastel/policy/quarantine/blob"
	"rastel/policy/quarantine/sqlindex"
)

// nodeEnv tells the test binary that it is a node, and how: the URL of the database, the file with its password,
// the address of the store of messages, the directory of the node, the SMTP server, what it does.
const nodeEnv = "RASTEL_TEST_NODE"

// nodeTime is how long a node may take.
const nodeTime = 3 * time.Minute

// A node is what one process of several on the same quarantine is made of.
type node struct{ url, password, messages, dir, smtp, do string }

func (n node) env() string {
	return nodeEnv + "=" + strings.Join([]string{n.url, n.password, n.messages, n.dir, n.smtp, n.do}, "\n")
}

func (n node) config() quarantine.Config {
	return quarantine.Config{
		Dir:     n.dir,
		Index:   quarantine.IndexConfig{Postgres: n.url, PasswordFile: n.password, Wait: 5 * time.Second},
		Release: quarantine.ReleaseConfig{SMTP: n.smtp, Timeout: 20 * time.Second},
	}
}

// open opens the store of a node; wrap may put something before its index.
func (n node) open(wrap func(quarantine.Index) quarantine.Index) (*quarantine.Store, error) {
	cfg := n.config()
	index, err := sqlindex.OpenPostgres(cfg.Index.WithDefaults())
	if err != nil {
		return nil, err
	}
	blobs, err := blob.OpenS3(blob.S3Options{
		Config:    quarantine.S3Config{Endpoint: "http://" + n.messages, Bucket: rig.S3Bucket, PathStyle: true, Timeout: 2 * time.Second},
		AccessKey: rig.S3Access, SecretKey: rig.S3Secret,
	})
	if err != nil {
		return nil, err
	}
	return quarantine.New(quarantine.Options{Config: cfg, Index: wrap(index), Blobs: blobs})
}

func bare(x quarantine.Index) quarantine.Index { return x }

// runNode is the process.
func runNode(env string) {
	f := strings.Split(env, "\n")
	n := node{f[0], f[1], f[2], f[3], f[4], f[5]}
	ctx, cancel := context.WithTimeout(context.Background(), nodeTime)
	defer cancel()
	if n.do == "die" {
		n.releaseAndDie(ctx)
	}
	s, err := n.open(bare)
	exitOn(err)
	exitOn(releaseAll(ctx, s))
	exitOn(s.Close())
	os.Exit(0)
}

// releaseAll releases until nothing is held any more, whatever fails meanwhile.
func releaseAll(ctx context.Context, s *quarantine.Store) error {
	for {
		held, err := s.List(ctx, quarantine.Filter{State: quarantine.Held, Limit: quarantine.MaxLimit})
		var releasing []quarantine.Item
		if err == nil {
			releasing, err = s.List(ctx, quarantine.Filter{State: quarantine.Releasing, Limit: 1})
		}
		if err == nil && len(held)+len(releasing) == 0 {
			return nil
		}
		releaseEach(ctx, s, held)
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// releaseEach releases items in an order of its own, several at a time. What fails is tried again later.
func releaseEach(ctx context.Context, s *quarantine.Store, items []quarantine.Item) {
	rand.Shuffle(len(items), func(i, j int) { items[i], items[j] = items[j], items[i] })
	next := make(chan string)
	var workers sync.WaitGroup
	for range 6 {
		workers.Go(func() {
			for id := range next {
				_, _ = s.Release(ctx, id, quarantine.ReleaseRequest{By: "node"})
			}
		})
	}
	for _, it := range items {
		next <- it.ID
	}
	close(next)
	workers.Wait()
}

// A lateIndex dies before it notes how a release ended: the second update.
type lateIndex struct {
	quarantine.Index
	updates int
}

func (l *lateIndex) Update(ctx context.Context, id string, change func(*quarantine.Item) error) (*quarantine.Item, error) {
	if l.updates++; l.updates == 2 {
		die()
	}
	return l.Index.Update(ctx, id, change)
}

func (n node) releaseAndDie(ctx context.Context) {
	s, err := n.open(func(x quarantine.Index) quarantine.Index { return &lateIndex{Index: x} })
	exitOn(err)
	held, err := s.List(ctx, quarantine.Filter{State: quarantine.Held, Limit: 1})
	exitOn(err)
	_, err = s.Release(ctx, held[0].ID, quarantine.ReleaseRequest{By: "ann"})
	exitOn(fmt.Errorf("still alive: %w", err))
}

// shared is what the nodes of a test share.
type shared struct {
	postgres *rig.Postgres
	s3       *rig.S3
	sink     *rig.Sink
	node     node
}

func newShared(t *testing.T) *shared {
	t.Helper()
	if os.Getenv("RASTEL_E2E") != "1" {
		t.Skip("needs a PostgreSQL and an S3 server; run contrib/test")
	}
	p, err := rig.StartPostgres()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopped(t, p.Stop()) })
	s3, err := rig.StartS3()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopped(t, s3.Stop()) })
	sink, err := rig.StartSink()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopped(t, sink.Stop()) })
	dir := t.TempDir()
	password := filepath.Join(dir, "password")
	if err := os.WriteFile(password, []byte(rig.PostgresPassword), 0o600); err != nil {
		t.Fatal(err)
	}
	return &shared{p, s3, sink, node{p.URL("postgres"), password, s3.Addr, filepath.Join(dir, "own"), sink.Addr, "release"}}
}

func stopped(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

// hold holds n messages, each with a Message-ID of its own.
func (s *shared) hold(t *testing.T, store *quarantine.Store, n int) {
	t.Helper()
	numbers := make(chan int)
	var workers sync.WaitGroup
	for range 8 {
		workers.Go(func() {
			for n := range numbers {
				it := quarantine.NewItem(envelope())
				raw := fmt.Sprintf("Message-ID: <%d@example.org>\r\nSubject: %d\r\n\r\nbody\r\n", n, n)
				if err := store.Hold(t.Context(), it, strings.NewReader(raw)); err != nil {
					t.Errorf("Hold: %v", err)
				}
			}
		})
	}
	for i := range n {
		numbers <- i
	}
	close(numbers)
	workers.Wait()
}

// start runs a node as a process of its own.
func (s *shared) start(t *testing.T, name, do string) (wait func() error) {
	t.Helper()
	n := s.node
	n.dir, n.do = filepath.Join(n.dir, name), do
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), n.env())
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func() error {
		if err := cmd.Wait(); err != nil {
			return fmt.Errorf("node %s: %w\n%s", name, err, &out)
		}
		return nil
	}
}

// deliveries counts what the sink has got, by Message-ID.
func (s *shared) deliveries() map[string]int {
	n := map[string]int{}
	for _, d := range s.sink.Deliveries() {
		for line := range strings.Lines(string(d.Raw)) {
			if id, ok := strings.CutPrefix(line, "Message-ID: "); ok {
				n[strings.TrimSpace(id)]++
			}
		}
	}
	return n
}

// Two nodes release the same 1,000 messages at once, the database ends and comes back meanwhile, and so does
// the store of messages: each is delivered once.
func TestTwoNodesReleaseEachMessageOnce(t *testing.T) {
	const messages = 1000
	s := newShared(t)
	store, err := s.node.open(bare)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	s.hold(t, store, messages)
	nodes := []func() error{s.start(t, "one", "release"), s.start(t, "two", "release")}
	for i, disturb := range []func() error{
		s.postgres.Restart,
		func() error { s.s3.Kill(); return nil },
		s.s3.Start,
		s.postgres.Restart,
	} {
		if _, err := s.sink.Wait(min(messages*(i+1)/6, messages), 5*time.Second); err != nil {
			t.Logf("before disturbance %d: %v", i, err) // the messages are away: nothing can come in
		}
		if err := disturb(); err != nil {
			t.Fatal(err)
		}
	}
	for _, wait := range nodes {
		if err := wait(); err != nil {
			t.Error(err)
		}
	}
	got := s.deliveries()
	twice := 0
	for _, n := range got {
		if n > 1 {
			twice++
		}
	}
	if len(got) != messages || twice > 0 || len(s.sink.Deliveries()) != messages {
		t.Errorf("%d messages in %d deliveries, %d of them twice; want %d, once each", len(got), len(s.sink.Deliveries()), twice, messages)
	}
	released, err := store.List(t.Context(), quarantine.Filter{State: quarantine.Released, Limit: quarantine.MaxLimit})
	if err != nil || len(released) != messages {
		t.Errorf("%d items are released, %v; want %d", len(released), err, messages)
	}
	if i := slices.IndexFunc(released, func(it quarantine.Item) bool { return it.Note != "" }); i >= 0 {
		t.Errorf("an item has the note %q, want none", released[i].Note)
	}
}

// A process that dies between the 250 and its note leaves a message that may be delivered a second time, at most,
// and the record says so.
func TestDyingBehindThe250IsTold(t *testing.T) {
	s := newShared(t)
	store, err := s.node.open(bare)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	s.hold(t, store, 1)
	err = s.start(t, "one", "die")()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || !exit.Sys().(syscall.WaitStatus).Signaled() {
		t.Fatalf("the node that dies: %v, want it killed", err)
	}
	held, err := store.List(t.Context(), quarantine.Filter{State: quarantine.Releasing})
	if err != nil || len(held) != 1 {
		t.Fatalf("List = %v, %v; want one that is being released", held, err)
	}
	id := held[0].ID
	if _, err := store.Release(t.Context(), id, quarantine.ReleaseRequest{}); !errors.Is(err, quarantine.ErrState) {
		t.Errorf("Release within the lease = %v, want ErrState", err)
	}
	store.SetNow(func() time.Time { return held[0].Lease.Add(time.Second) })
	it, err := store.Release(t.Context(), id, quarantine.ReleaseRequest{By: "bob"})
	if err != nil || it.State != quarantine.Released || !strings.Contains(it.Note, "perhaps twice") {
		t.Errorf("Release after the lease = %+v, %v; want it released with a note", it, err)
	}
	if got := s.deliveries(); len(got) != 1 || got["<0@example.org>"] != 2 {
		t.Errorf("deliveries = %v, want one message twice", got)
	}
	if _, err := store.Release(t.Context(), id, quarantine.ReleaseRequest{}); !errors.Is(err, quarantine.ErrState) {
		t.Errorf("a third Release = %v, want ErrState", err)
	}
}
