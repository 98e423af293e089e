package eml

import (
	"context"
	"fmt"
	"strings"
	"testing"
)

// hostile are messages of about n bytes that cost a careless parser more than their size.
func hostile() map[string]func(n int) string {
	h := "Content-Type: multipart/mixed; boundary=b\r\n\r\n"
	return map[string]func(n int) string{
		"near":        func(n int) string { return h + strings.Repeat("--b x\r\n", n/7) },
		"nearjunk":    func(n int) string { return h + strings.Repeat("--bx\r\n", n/6) },
		"dashes":      func(n int) string { return h + strings.Repeat("-", n) },
		"dashlines":   func(n int) string { return h + strings.Repeat("--\r\n", n/4) },
		"dashcr":      func(n int) string { return h + strings.Repeat("\r--b", n/4) },
		"indent":      func(n int) string { return h + strings.Repeat("\n --b", n/5) },
		"parts":       func(n int) string { return h + strings.Repeat("--b\r\n\r\n", n/7) },
		"partsclosed": func(n int) string { return h + strings.Repeat("--b--\r\n--b\r\n\r\nx\r\n", n/17) },
		"rfc822":      func(n int) string { return strings.Repeat("Content-Type: message/rfc822\r\n\r\n", n/32) },
		"nested": func(n int) string {
			var b strings.Builder
			for i := 0; b.Len() < n; i++ {
				fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i)
			}
			return b.String()
		},
		"nestedsame": func(n int) string {
			return strings.Repeat("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n", n/50)
		},
		"manytypes": func(n int) string {
			return strings.Repeat("Content-Type: multipart/mixed; boundary=a; boundary=b\r\n", n/50) + "\r\n--a\r\n"
		},
		"header":     func(n int) string { return strings.Repeat("X: y\r\n", n/6) },
		"headerjunk": func(n int) string { return strings.Repeat("junk\r\n", n/6) },
		"longheader": func(n int) string { return "X: " + strings.Repeat("x", n) },
		"fold":       func(n int) string { return "X: y\r\n" + strings.Repeat(" z\r\n", n/4) },
		"params":     func(n int) string { return "Content-Type: a/b" + strings.Repeat(";a=b", n/4) + "\r\n\r\n" },
		"2231": func(n int) string {
			var b strings.Builder
			b.WriteString("Content-Disposition: x")
			for i := 0; b.Len() < n; i++ {
				fmt.Fprintf(&b, ";\r\n filename*%d=a", i)
			}
			return b.String() + "\r\n\r\n"
		},
		"words": func(n int) string {
			return "Content-Disposition: x; filename=\"" + strings.Repeat("=?utf-8?q?a?= ", n/14) + "\"\r\n\r\n"
		},
		"comment": func(n int) string { return "Content-Type: a/b" + strings.Repeat("(", n) + "\r\n\r\n" },
		"base64":  func(n int) string { return "Content-Transfer-Encoding: base64\r\n\r\n" + strings.Repeat("WA==", n/4) },
		"b64parts": func(n int) string {
			return h + strings.Repeat("--b\r\nContent-Transfer-Encoding: base64\r\n\r\n*a=a\r\n", n/50)
		},
		"qp": func(n int) string {
			return "Content-Transfer-Encoding: quoted-printable\r\n\r\n" + strings.Repeat("= ", n/2)
		},
		"qpsp": func(n int) string {
			return "Content-Transfer-Encoding: quoted-printable\r\n\r\n" + strings.Repeat(" ", n)
		},
		"uu": func(n int) string {
			return "Content-Transfer-Encoding: uuencode\r\n\r\nbegin 644 a\r\n" + strings.Repeat("M\r\n", n/3)
		},
		"bareCR":     func(n int) string { return "X: y\r" + strings.Repeat("a: b\r", n/5) + "\r\n\r\nx" },
		"bodyfields": func(n int) string { return h + strings.Repeat("--b\r\n\r\nContent-Type: x\r\n", n/26) },
	}
}

// BenchmarkHostile shows that time grows with size and no faster: MB/s of both sizes are alike.
func BenchmarkHostile(b *testing.B) {
	for name, make := range hostile() {
		for _, n := range []int{1 << 20, 2 << 20} {
			raw := []byte(make(n))
			b.Run(fmt.Sprintf("%s/%dMB", name, n>>20), func(b *testing.B) {
				s := spoolOf(b, raw)
				b.SetBytes(int64(len(raw)))
				for b.Loop() {
					m, _, err := Parse(context.Background(), &Envelope{}, s, Limits{}, func(*Part) {})
					if err != nil {
						b.Fatal(err)
					}
					m.Close()
				}
			})
		}
	}
}

// TestHostileMessagesAreRead: whatever is odd, the parts lie within the message and each other.
func TestHostileMessagesAreRead(t *testing.T) {
	for name, make := range hostile() {
		t.Run(name, func(t *testing.T) {
			raw := []byte(make(100_000))
			m, _ := parseBytes(t, raw, Limits{})
			checkExtents(t, m.Root, 0, m.Size)
			if got := patched(t, m); got != string(raw) {
				t.Error("an empty patch changed it")
			}
		})
	}
}
