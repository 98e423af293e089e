package policy

// A route is whom an accepted message goes to, as the changes of the rules, one after the other, leave it.
type route struct {
	own     []string // the recipients of the envelope that the decision is for
	changed bool
	order   []string // all addresses that it ever had, each mailbox once but for those of own
	state   map[string]standing
}

// A standing is what a mailbox is in a route.
type standing uint8

const (
	left  standing = iota // it does not get the message
	meant                 // it is a recipient, or stands for some
	added                 // it gets the message besides
)

// change carries out a change.
func (r *route) change(ch *change) {
	if !r.changed {
		r.changed, r.order, r.state = true, r.own[:len(r.own):len(r.own)], make(map[string]standing, len(r.own))
		for _, a := range r.own {
			r.state[sameMailbox(a)] = meant
		}
	}
	switch {
	case ch.kind.name == wordAddRecipient:
		r.add(ch.addresses, added)
	case ch.kind.name == wordRedirect:
		r.clear()
		r.add(ch.addresses, meant)
	case len(ch.addresses) == 0: // remove_recipient in a rule for recipients
		r.clear()
	default:
		for _, a := range ch.addresses {
			if m := sameMailbox(a); r.state[m] != left {
				r.state[m] = left
			}
		}
	}
}

func (r *route) add(list []string, as standing) {
	for _, a := range list {
		m := sameMailbox(a)
		before, known := r.state[m]
		if !known {
			r.order = append(r.order, a)
		}
		r.state[m] = max(before, as)
	}
}

// clear takes the recipients away, and who stands for them. Who was added besides stays.
func (r *route) clear() {
	for m, s := range r.state {
		if s == meant {
			r.state[m] = left
		}
	}
}

// list is whom it goes to.
func (r *route) list() []string {
	if !r.changed {
		return r.own
	}
	var out []string
	for _, a := range r.order {
		if r.state[sameMailbox(a)] != left {
			out = append(out, a)
		}
	}
	return out
}

// routed gives what is to be added to an envelope, and what removed from it, so that the message goes to
// those.
func routed(envelope, to []string) (add, remove []string) {
	there, wanted := make(map[string]bool, len(envelope)), make(map[string]bool, len(to))
	for _, a := range to {
		wanted[sameMailbox(a)] = true
	}
	for _, a := range envelope {
		m := sameMailbox(a)
		if there[m] = true; !wanted[m] {
			remove = append(remove, a)
		}
	}
	for _, a := range to {
		if m := sameMailbox(a); !there[m] {
			there[m] = true
			add = append(add, a)
		}
	}
	return add, remove
}
