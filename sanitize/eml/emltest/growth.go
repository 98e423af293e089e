package emltest

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// rounds is how often each size is measured; the shortest time counts. Some more are measured while it
// looks as if more grew than the message, for what else the machine does costs processor time too, and that
// may go on for a while.
const (
	rounds     = 3
	moreRounds = 12
	doubtful   = 2.2
)

// settled is how much processor time the rounds of one kind may take, and how long at most; after that
// there are no more.
const (
	settled = 2 * time.Second
	hung    = 30 * time.Second
)

// enough is how much processor time of each size is measured at least in a round, so that one page
// fault or one collection of garbage is not all of it; the same is done up to maxRepeats times.
const (
	enough     = 20 * time.Millisecond
	maxRepeats = 10_000
)

// Sizes are those of which messages are measured, and twice as many. A limit hides what grows below
// it: a header may have 256 KiB, so of headers only the smaller size tells, and of many parts the greater,
// which is more than a spool keeps in memory.
var Sizes = []int{100_000, 3 << 19}

// again is how often the rows are measured once more, at the end, that look like growth.
const again = 6

// A line is what one kind of message costs.
type line struct {
	kind        Hostile
	n           int // of the smaller message
	name        string
	t, t2       time.Duration
	mem, mem2   uint64 // bytes that were allocated
	size, size2 int
	crosses     string // what the greater message alone makes happen; empty if nothing
}

// Growth measures what do costs for each kind of message, of each of Sizes and of twice as many bytes,
// and prints it, what grows fastest first: processor time, how it grows, and how fast that is. It cannot
// fail, for machines are noisy; what must not grow is counted by tests.
//
// The ratio is that of the times when the bytes double, so 2.0 is linear. Messages of big pieces do not
// double when n does: there are 7 pieces of 200 KB in the one and 15 in the other. Therefore the times are
// compared by the bytes that there are; a message that does not get longer is not measured.
//
// The garbage collector does not run while a time is taken: one cycle more or less, of some milliseconds that
// depend on the heap of the whole program, would be all that is seen. What it costs grows with what is
// allocated, so beside the ratio of the times is that of the bytes allocated, by bytes of the message.
//
// Do returns what was done to the message: a limit that only one of both sizes reaches, and because of
// which that alone is rejected or written anew, is a step that looks like growth, or hides it. What
// was not done to both is printed with the line.
//
// A step, such as memory that is not in the processor's cache any more, looks like growth too. So of lines with a
// doubtful ratio messages that are twice and four times as long again are measured: what grows goes on
// growing.
func Growth(b *testing.B, do func(raw []byte) (done string)) {
	var lines []line
	for _, h := range Messages() {
		for _, n := range Sizes {
			name := fmt.Sprintf("%s/%dK", h.Name, n/1000)
			b.Run(name, func(b *testing.B) {
				l := line{kind: h, n: n, name: name}
				raw, twice := l.messages()
				if 2*len(twice) < 3*len(raw) {
					b.Skip("the message does not grow")
				}
				l.size, l.size2 = len(raw), len(twice)
				for b.Loop() {
					if l.t2 == 0 {
						if less, more := do(raw), do(twice); less != more {
							l.crosses = less + " -> " + more
						}
						l.t, l.t2 = time.Hour, time.Hour
						l.mem, l.mem2 = allocated(func() { do(raw) }), allocated(func() { do(twice) })
						l.measure(raw, twice, do)
						lines = append(lines, l)
					}
				}
				b.ReportMetric(l.ratio(), "ratio")
				b.ReportMetric(l.speed(), "MB/s")
			})
		}
	}
	for range again {
		for i := range lines {
			if l := &lines[i]; l.ratio() > doubtful {
				raw, twice := l.messages()
				l.measure(raw, twice, do)
			}
		}
	}
	slices.SortStableFunc(lines, func(a, b line) int { return cmp.Compare(b.ratio(), a.ratio()) })
	fmt.Printf("%-36s %10s %10s %6s %10s %6s %8s  %s\n", "message", "t(n) ms", "t(2n) ms", "ratio", "bytes/byte", "ratio", "MB/s", "crosses a limit")
	for _, l := range lines {
		fmt.Printf("%-36s %10.2f %10.2f %6.2f %10.1f %6.2f %8.1f  %s\n", l.name, ms(l.t), ms(l.t2), l.ratio(),
			float64(l.mem2)/float64(max(l.size2, 1)), l.memRatio(), l.speed(), l.crosses)
	}
	for _, l := range lines {
		if l.ratio() > doubtful {
			l.goOn(do)
		}
	}
}

// goOn prints what messages cost that are longer than those of the line.
func (l line) goOn(do func([]byte) string) {
	for range 2 {
		l.t, l.size = l.t2, l.size2
		l.n *= 2
		raw, twice := l.messages()
		l.t2, l.size2 = time.Hour, len(twice)
		l.measure(raw, twice, do)
		fmt.Printf("%-36s of %d bytes %.2f ms, of %d bytes %.2f ms: %.2f\n", l.kind.Name, l.size, ms(l.t), l.size2, ms(l.t2), l.ratio())
	}
}

// ratio is t2/t for twice the bytes.
func (l line) ratio() float64 {
	return 2 * float64(l.t2) / float64(max(l.t, 1)) * float64(l.size) / float64(max(l.size2, 1))
}

// memRatio is the same of the bytes allocated.
func (l line) memRatio() float64 {
	return 2 * float64(l.mem2) / float64(max(l.mem, 1)) * float64(l.size) / float64(max(l.size2, 1))
}

func (l line) speed() float64 { return float64(l.size2) / 1e6 / max(l.t2, 1).Seconds() }

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func (l *line) messages() (raw, twice []byte) {
	return []byte(l.kind.Make(l.n)), []byte(l.kind.Make(2 * l.n))
}

// measure finds less processor time of both, in turn, so that what else the machine does disturbs
// both alike.
func (l *line) measure(raw, twice []byte, do func([]byte) string) {
	start, began := cpu(), time.Now()
	for i := 0; i < rounds || i < moreRounds && l.ratio() > doubtful; i++ {
		if i > 0 && (cpu()-start > settled || time.Since(began) > hung) {
			return
		}
		l.t = min(l.t, cost(func() { do(raw) }))
		l.t2 = min(l.t2, cost(func() { do(twice) }))
	}
}

// maxHeap is from where on the garbage collector runs all the same.
const maxHeap = 2 << 30

// cost is the processor time that f takes once, of all threads, at least a microsecond, without the
// collection of garbage.
func cost(f func()) time.Duration {
	runtime.GC()
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(maxHeap))
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	spent, n := time.Duration(0), 0
	for before := cpu(); spent < enough && n < maxRepeats; n++ {
		f()
		spent = cpu() - before
	}
	return max(spent/time.Duration(n), time.Microsecond)
}

// allocated is how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func cpu() time.Duration {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
