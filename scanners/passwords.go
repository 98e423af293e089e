package scanners

import (
	"context"
	"fmt"
	"strings"
	"time"
)

const (
	// firstWords is how many words of the message are tried before those that are listed.
	firstWords = 40
	// maxPasswords is how many passwords a configuration may list, and maxPassword how many bytes
	// one may have.
	maxPasswords, maxPassword = 1000, 128
)

// Words are what may be a password.
type Words struct {
	Message []string // of the message, the most likely first: see Candidates
	Listed  []string // of the configuration
}

// KnownPasswords are those that everybody knows: of samples of malware that are passed on, and what
// people choose who do not want to choose.
func KnownPasswords() []string {
	return strings.Fields(`infected 1234 123456 12345 password 123 malware virus 0000 1111 pass 12345678 123456789 abc123 qwerty admin
		test Infected infected123 2025 2026 Password1 777 321 abcd1234 1234567 111111 1q2w3e4r 123321 4321`)
}

// ValidatePasswords reports what is wrong with a list of passwords.
func ValidatePasswords(list []string) error {
	if len(list) > maxPasswords {
		return fmt.Errorf("passwords: more than %d", maxPasswords)
	}
	for i, p := range list {
		if p == "" || len(p) > maxPassword {
			return fmt.Errorf("passwords: entry %d has %d bytes, not between 1 and %d", i+1, len(p), maxPassword)
		}
	}
	return nil
}

// A Source is where a password comes from.
type Source uint8

// The sources of a password.
const (
	NoSource    Source = iota // none was found
	FromMessage               // the message says it
	FromList                  // the configuration lists it
	FromKnown                 // one of KnownPasswords
)

// A Guess is what came of trying passwords.
type Guess struct {
	Password string // that opens it
	From     Source
	Entry    int  // FromList: which one, from 1
	Tried    int  // passwords
	Of       int  // so many
	Cut      bool // the time was up before all were tried
}

// Found reports whether there is a password.
func (g Guess) Found() bool { return g.From != NoSource }

// Detail says for a finding what came of it. A password of the configuration is not told: it may open
// other things too.
func (g Guess) Detail() string {
	switch g.From {
	case FromMessage:
		return fmt.Sprintf("opened with the password %q, which the message says", g.Password)
	case FromList:
		return fmt.Sprintf("opened with entry %d of the passwords in the configuration", g.Entry)
	case FromKnown:
		return fmt.Sprintf("opened with the password %q, which everybody knows", g.Password)
	}
	if g.Cut {
		return fmt.Sprintf("encrypted; the time for passwords was up after %d of %d possible ones", g.Tried, g.Of)
	}
	return fmt.Sprintf("encrypted; none of %d possible passwords opens it", g.Of)
}

// A possible is one password to be tried.
type possible struct {
	word  string
	from  Source
	entry int
}

// possibles are the passwords to be tried, in order: what the container says itself, the likeliest
// words of the message, those of the configuration, those that are known, and the other words.
func (b *Budget) possibles(ctx context.Context, own []string) []possible {
	w := b.Words(ctx)
	said := append(append([]string(nil), own...), w.Message...)
	first := min(firstWords, len(said))
	inMessage := map[string]bool{}
	for _, word := range said {
		inMessage[word] = true
	}
	var out []possible
	seen := map[string]bool{}
	add := func(word string, from Source, entry int) {
		if seen[word] || word == "" {
			return
		}
		seen[word] = true
		if inMessage[word] {
			from = FromMessage
		}
		out = append(out, possible{word, from, entry})
	}
	for _, word := range said[:first] {
		add(word, FromMessage, 0)
	}
	for i, word := range w.Listed {
		add(word, FromList, i+1)
	}
	for _, word := range KnownPasswords() {
		add(word, FromKnown, 0)
	}
	for _, word := range said[first:] {
		add(word, FromMessage, 0)
	}
	return out
}

// Guess tries the passwords that something may have: Words, what the container says of itself (own),
// and KnownPasswords, until one opens it. All guessing in one message takes no more time than
// BudgetLimits.PasswordTime, and one try. The error is that of opens or of ctx.
func (b *Budget) Guess(ctx context.Context, own []string, opens func(password string) (bool, error)) (Guess, error) {
	list := b.possibles(ctx, own)
	g := Guess{Of: len(list)}
	for _, p := range list {
		if err := ctx.Err(); err != nil {
			return g, err
		}
		if time.Duration(b.guessing.Load()) >= b.lim.PasswordTime {
			g.Cut = true
			return g, nil
		}
		start := time.Now()
		ok, err := opens(p.word)
		b.guessing.Add(int64(time.Since(start)))
		g.Tried++
		if err != nil {
			return g, err
		}
		if ok {
			g.Password, g.From, g.Entry = p.word, p.from, p.entry
			return g, nil
		}
	}
	return g, nil
}
