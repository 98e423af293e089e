package quarantine_test

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rastel/policy/quarantine"
)

// BenchmarkHold is what holding a message of 100 KB costs, from its first byte to the record that is durable,
// one at a time and eight. It must take 3 ms at most in the middle, and 200 a second must be possible: both
// are of the disk, so set TMPDIR to one that counts.
func BenchmarkHold(b *testing.B) {
	for _, parallel := range []int{1, 8} {
		b.Run(fmt.Sprintf("%d-at-a-time", parallel), func(b *testing.B) { benchmarkHold(b, parallel) })
	}
}

func benchmarkHold(b *testing.B, parallel int) {
	s := newStore(b, quarantine.Config{})
	raw := make([]string, b.N)
	for n := range raw {
		raw[n] = largeMessage(n)
	}
	took := make([]time.Duration, b.N)
	var next atomic.Int64
	var wg sync.WaitGroup
	b.SetBytes(int64(len(raw[0])))
	b.ResetTimer()
	for range parallel {
		wg.Go(func() {
			for n := int(next.Add(1)) - 1; n < b.N; n = int(next.Add(1)) - 1 {
				start := time.Now()
				if err := s.Hold(b.Context(), quarantine.NewItem(envelope()), strings.NewReader(raw[n])); err != nil {
					b.Errorf("Hold: %v", err)
				}
				took[n] = time.Since(start)
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "holds/s")
}

// largeMessage is a message of 100 KB, each with another content: text, and an attachment in base64.
func largeMessage(n int) string {
	file := make([]byte, 60<<10)
	_, _ = rand.NewChaCha8([32]byte{byte(n), byte(n >> 8), byte(n >> 16)}).Read(file)
	var m strings.Builder
	fmt.Fprintf(&m, "Subject: invoice %d\r\nFrom: ann@example.org\r\n\r\n", n)
	for line := range 250 {
		fmt.Fprintf(&m, "%d. Please find attached what was agreed on %d times before.\r\n", line, n+line)
	}
	for text := base64.StdEncoding.EncodeToString(file); text != ""; {
		cut := min(76, len(text))
		m.WriteString(text[:cut] + "\r\n")
		text = text[cut:]
	}
	return m.String()
}
