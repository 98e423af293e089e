package hosts

import "time"

// A window is counts of the time that lies back less than so many slots.
type window struct {
	last  int64 // the number of the newest slot, by the clock
	slots [slotsInWindow]Counts
}

// How long a slot is.
const (
	slotsInWindow = 24
	hourSlot      = time.Hour / slotsInWindow
	daySlot       = 24 * time.Hour / slotsInWindow
)

func slotOf(now time.Time, slot time.Duration) int64 { return now.Unix() / int64(slot/time.Second) }

// advance empties the slots that have become too old.
func (w *window) advance(to int64) {
	if to-w.last >= slotsInWindow || to < w.last-slotsInWindow { // long ago, or the clock was put back
		w.slots, w.last = [slotsInWindow]Counts{}, to
		return
	}
	for w.last < to {
		w.last++
		w.slots[w.last%slotsInWindow] = Counts{}
	}
}

func (w *window) add(now time.Time, slot time.Duration, infected, refused bool) {
	w.advance(slotOf(now, slot))
	c := &w.slots[w.last%slotsInWindow]
	c.Messages++
	if infected {
		c.Infected++
	}
	if refused {
		c.Refused++
	}
}

// sum adds up what has not become too old.
func (w *window) sum(now time.Time, slot time.Duration) (out Counts) {
	w.advance(slotOf(now, slot))
	for _, c := range w.slots {
		out.Messages += c.Messages
		out.Infected += c.Infected
		out.Refused += c.Refused
	}
	return out
}
