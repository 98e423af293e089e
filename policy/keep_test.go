package policy

import (
	"testing"
	"time"

	"rastel/scanners"
)

func TestRetention(t *testing.T) {
	const day = 24 * time.Hour
	for s, want := range map[string]time.Duration{
		"1h": time.Hour, "12h": 12 * time.Hour, "30d": 30 * day, "8w": 56 * day, "3660d": 3660 * day,
		"": 0, "d": 0, "30": 0, "30m": 0, "-1d": 0, "+1d": 0, "1.5d": 0, "3661d": 0, "99999w": 0, "999999999999h": 0, "30 d": 0, "0h": 0,
	} {
		if got := retention(s); got != want {
			t.Errorf("%q: got %v, want %v", s, got, want)
		}
	}
}

func TestHowWhatIsHeldIsKept(t *testing.T) {
	for _, tt := range []struct{ rules, want string }{
		{"{name: q, when: true, then: quarantine, class: a, retention: 2d}", `quarantine by q, kept as "a" for 48h0m0s`},
		{"{name: h, when: true, do: [hold], class: a}", `accept, held, kept as "a" for 0s`},
		{"{name: h, when: true, do: [hold], class: a}, {name: i, when: true, do: [hold], class: b, retention: 1d}", `accept, held, kept as "a" for 24h0m0s`},
		{"{name: h, when: true, do: [hold], class: a, retention: 1d}, {name: q, when: true, then: quarantine, class: b}", `quarantine by q, held, kept as "b" for 24h0m0s`},
		{"{name: h, when: true, do: [hold], class: a}, {name: r, when: true, then: tempfail}", `tempfail by r`},
		{"{name: h, when: true, do: [hold], class: a}, {name: r, when: true, then: reject}", `reject by r, held, kept as "a" for 0s`},
		{"{name: h, when: false, do: [hold], class: a}", `accept`},
		{"{name: q, for: part, when: part.member, do: [rename], then: quarantine, class: a}", `accept`},
	} {
		v := load(t, "rules: ["+tt.rules+"]").Decide(parse(t, "\nx"), scanners.Report{})
		if got := tellVerdict(v); got != tt.want+"\n" {
			t.Errorf("%s: got %swant %s", tt.rules, got, tt.want)
		}
	}
}
