package scanners

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"rastel/sanitize/eml"
)

// ErrBudget is returned, wrapped, by the methods of Budget when a message has used up what
// its expansion may cost.
var ErrBudget = errors.New("expansion limit reached")

// BudgetLimits bound what the containers of one message may expand to, all together. A zero
// field means its default.
type BudgetLimits struct {
	Bytes   int64 // of all members together; default 300 MB
	Members int   // number of members; default 10 000
	Depth   int   // containers in one another; default 16
	Ratio   int64 // of expanded to packed bytes, counted after the first 10 MB; default 250

	// Time is how long all containers may take, one after the other, and ContainerTime how long
	// a single one. Waiting for the rest of the message does not count.
	Time          time.Duration // default 1 minute
	ContainerTime time.Duration // default 30 seconds

	// PasswordTime is how long passwords are tried, for all containers together. Default 10 seconds.
	PasswordTime time.Duration
}

// ratioFree is how many bytes may come out before the ratio counts: small files that are
// mostly zeros are common.
const ratioFree = 10 << 20

func (l BudgetLimits) withDefaults() BudgetLimits {
	if l.Bytes == 0 {
		l.Bytes = 300_000_000
	}
	if l.Members == 0 {
		l.Members = 10_000
	}
	if l.Depth == 0 {
		l.Depth = 16
	}
	if l.Ratio == 0 {
		l.Ratio = 250
	}
	if l.Time == 0 {
		l.Time = time.Minute
	}
	if l.ContainerTime == 0 {
		l.ContainerTime = 30 * time.Second
	}
	if l.PasswordTime == 0 {
		l.PasswordTime = 10 * time.Second
	}
	return l
}

// A Budget is what the expansion of one message may still cost. It is shared by all
// expanders that work on the message, and safe for concurrent use.
type Budget struct {
	lim     BudgetLimits
	spool   eml.SpoolOptions
	bytes   atomic.Int64
	members atomic.Int64
	spent   atomic.Int64 // time, in nanoseconds
	words   func(context.Context) Words

	guessing atomic.Int64 // time that was spent on passwords, in nanoseconds

	report   func(bytes int64) error // see Report
	reported int64

	mu    sync.Mutex
	taken map[*eml.Part]int // the last index of a member
}

// NewBudget makes the budget of a message; spool says where members are kept.
func NewBudget(lim BudgetLimits, spool eml.SpoolOptions) *Budget {
	return &Budget{lim: lim.withDefaults(), spool: spool}
}

// Spool makes an empty spool for what an expander must keep on the way to its members, and closes.
func (b *Budget) Spool() *eml.Spool { return eml.NewSpool(b.spool) }

// Words are what may be passwords of what ctx belongs to. It waits until the message has been read to
// its end, and the containers around that to theirs. There are none if ctx ends before. Ask only where
// there is something to try them on.
func (b *Budget) Words(ctx context.Context) Words {
	if b.words == nil {
		return Words{}
	}
	defer Pause(ctx)()
	return b.words(ctx)
}

// SetWords says where Words come from, before the budget is used.
func (b *Budget) SetWords(f func(context.Context) Words) { b.words = f }

// Members is how many members may still be made; an expander that knows their number
// beforehand can give up before it starts.
func (b *Budget) Members() int { return b.lim.Members - int(b.members.Load()) }

// Take accounts for n bytes that came out of a container without becoming a member, such as
// what a tar in a gz is unpacked to.
func (b *Budget) Take(n int64) error {
	total := b.bytes.Add(n)
	if total > b.lim.Bytes {
		return fmt.Errorf("%w: more than %d bytes", ErrBudget, b.lim.Bytes)
	}
	if b.report != nil && total-b.reported >= reportEvery {
		n, b.reported = total-b.reported, total
		return b.report(n)
	}
	return nil
}

// reportEvery is how many bytes are taken before Report tells.
const reportEvery = 8 << 20

// Report has f told how much was taken, now and then, for a budget that stands for a share of
// another one. Such a budget is used by one goroutine; f is set before.
func (b *Budget) Report(f func(bytes int64) error) {
	b.report, b.reported = f, b.bytes.Load()
}

// Affords reports, with the error that Member would come to, that a member of p of n bytes is more
// than the budget has left, for formats that tell sizes which nothing stands behind.
func (b *Budget) Affords(p *eml.Part, n int64) error {
	if n > b.lim.Bytes-b.bytes.Load() {
		return fmt.Errorf("%w: more than %d bytes", ErrBudget, b.lim.Bytes)
	}
	if n > ratioFree && n > b.lim.Ratio*max(p.Size, 1) {
		return fmt.Errorf("%w: expands more than %d times", ErrBudget, b.lim.Ratio)
	}
	return nil
}

// Member reads the content of one member of p from r, to its end, and makes a part of it. The
// names are those that the container gives it; index counts the members of p from 1. What other
// expanders have made of p keeps its index, and those behind it move on.
//
// The error is ErrBudget, that of ctx, or that of r; with an error of r the part holds what
// could be read before it and is returned too, because a client may show that much. The caller
// yields the part.
func (b *Budget) Member(ctx context.Context, p *eml.Part, index int, names []string, r io.Reader) (*eml.Part, error) {
	if err := b.Count(p); err != nil {
		return nil, err
	}
	s := eml.NewSpool(b.spool)
	w := bufio.NewWriterSize(s, 32<<10) // a reader may give a few bytes at a time
	_, readErr := w.ReadFrom(&budgetReader{ctx: ctx, b: b, r: r, packed: p.Size})
	if err := w.Flush(); readErr == nil {
		readErr = err
	}
	if errors.Is(readErr, ErrBudget) || ctx.Err() != nil {
		s.Close()
		return nil, readErr
	}
	s.CloseWrite(nil)
	m, err := eml.NewMember(p, b.number(p, index), names, s)
	if err != nil {
		s.Close()
		return nil, err
	}
	return m, readErr
}

// number gives a member an index that no other member of p has.
func (b *Budget) number(p *eml.Part, index int) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.taken == nil {
		b.taken = map[*eml.Part]int{}
	}
	b.taken[p] = max(index, b.taken[p]+1)
	return b.taken[p]
}

// A Usage is how much of a budget was used.
type Usage struct {
	Bytes    int64
	Members  int
	Guessing time.Duration // of passwords
}

// Usage is how much was used until now.
func (b *Budget) Usage() Usage {
	return Usage{Bytes: b.bytes.Load(), Members: int(b.members.Load()), Guessing: time.Duration(b.guessing.Load())}
}

// Use accounts for what was used elsewhere for this message. Less than nothing gives back.
func (b *Budget) Use(u Usage) error {
	if u == (Usage{}) {
		return nil
	}
	b.guessing.Add(int64(u.Guessing))
	if total := b.members.Add(int64(u.Members)); total > int64(b.lim.Members) {
		return fmt.Errorf("%w: more than %d members", ErrBudget, b.lim.Members)
	}
	return b.Take(u.Bytes)
}

// Limits are those of the budget.
func (b *Budget) Limits() BudgetLimits { return b.lim }

// Count accounts for one member of p, without its bytes. Member does so itself.
func (b *Budget) Count(p *eml.Part) error {
	if b.members.Add(1) > int64(b.lim.Members) {
		return fmt.Errorf("%w: more than %d members", ErrBudget, b.lim.Members)
	}
	if p.Depth >= b.lim.Depth {
		return fmt.Errorf("%w: more than %d containers in one another", ErrBudget, b.lim.Depth)
	}
	return nil
}

// Reader gives a reader of r that stops with ErrBudget or the error of ctx, for layers that
// are unpacked on the way to their members. The packed size is that of the part.
func (b *Budget) Reader(ctx context.Context, p *eml.Part, r io.Reader) io.Reader {
	return &budgetReader{ctx: ctx, b: b, r: r, packed: p.Size}
}

type budgetReader struct {
	ctx    context.Context //nolint:containedctx // lives as long as one read of a member
	b      *Budget
	r      io.Reader
	n      int64
	packed int64
}

func (r *budgetReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := r.r.Read(p)
	r.n += int64(n)
	if e := r.b.Take(int64(n)); e != nil {
		return 0, e
	}
	if r.n > ratioFree && r.n > r.b.lim.Ratio*max(r.packed, 1) {
		return 0, fmt.Errorf("%w: expands more than %d times", ErrBudget, r.b.lim.Ratio)
	}
	return n, err
}
