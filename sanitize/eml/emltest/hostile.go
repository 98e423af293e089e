// Package emltest has messages that are made to cost a filter more than their size, for the tests
// of whatever reads mail, and the means to measure what they cost.
package emltest

import (
	"encoding/base64"
	"fmt"
	"strings"
)

// A Hostile is a kind of message of which there is one of any size.
type Hostile struct {
	Name string
	Make func(n int) string // about n bytes
}

const (
	mixed = "Content-Type: multipart/mixed; boundary=b\r\n\r\n"
	b64   = "Content-Transfer-Encoding: base64\r\n"
	qp    = "Content-Transfer-Encoding: quoted-printable\r\n"
	file  = "Content-Disposition: attachment"
)

// fill repeats s up to n bytes.
func fill(s string, n int) string { return strings.Repeat(s, max(n/len(s), 1)) }

// count joins what f makes of 0, 1, 2 and so on, up to n bytes.
func count(n int, f func(i int) string) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		b.WriteString(f(i))
	}
	return b.String()
}

// parts is a multipart message of parts with that text, from header to content.
func parts(part string) func(int) string {
	return func(n int) string { return mixed + fill("--b\r\n"+part+"\r\n", n) + "--b--\r\n" }
}

// each is a message of parts, each with a header that f makes of room bytes.
func each(room int, f func(n int) string) func(int) string {
	return func(n int) string { return parts(f(room) + "\r\nx")(n) }
}

// field is a header with a field that begins like that and goes on with what f makes.
func field(begin string, f func(i int) string, end string) func(int) string {
	return func(n int) string { return begin + count(n, f) + end + "\r\n\r\nx" }
}

func same(s string) func(int) string { return func(int) string { return s } }

// Messages are all kinds, each from how its author hopes to be read.
func Messages() []Hostile {
	var out []Hostile
	for _, list := range [][]Hostile{delimiters(), nesting(), headers(), words(), parameters(), encodings(), readings(), contents(), products(), carried(), pages()} {
		out = append(out, list...)
	}
	return out
}

func delimiters() []Hostile {
	long := strings.Repeat("q", 4000)
	return []Hostile{
		{"near", func(n int) string { return mixed + fill("--b x\r\n", n) }},
		{"nearjunk", func(n int) string { return mixed + fill("--bx\r\n", n) }},
		{"neartwo", func(n int) string { // two entities in turn
			return mixed + "--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\n" + fill("--bx\r\n--cx\r\n", n)
		}},
		{"nearthree", func(n int) string { // and three oddities
			return mixed + "--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\n" + fill("--bx\r\n --c\r\n\r--b\r\n--c x\ry\r\n", n)
		}},
		{"nearcr", func(n int) string { return mixed + fill("\n--bx\r", n) }},
		{"dashes", func(n int) string { return mixed + fill("-", n) }},
		{"dashlines", func(n int) string { return mixed + fill("--\r\n", n) }},
		{"dashcr", func(n int) string { return mixed + fill("\r--b", n) }},
		{"dashcrlong", func(n int) string { return mixed + fill("\r--", n) }},
		{"indent", func(n int) string { return mixed + fill("\n --b", n) }},
		{"blanks", func(n int) string { return mixed + fill("\n--b"+strings.Repeat(" ", 4090), n) }},
		{"longboundary", func(n int) string {
			return "Content-Type: multipart/mixed; boundary=" + long + "\r\n\r\n" + fill("\n--"+long+"x\n--q", n)
		}},
		{"longboundaries", func(n int) string { // all around us begin alike
			var b strings.Builder
			for i := range 32 {
				fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=%s%d\r\n\r\n--%s%d\r\n", long, i, long, i)
			}
			return b.String() + "\r\n" + fill("--"+long[1:]+"\r\n", n)
		}},
		{"dashboundaries", func(n int) string {
			var b strings.Builder
			for i := range 32 {
				d := strings.Repeat("-", 4000+i)
				fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=%s\r\n\r\n--%s\r\n", d, d)
			}
			return b.String() + "\r\n" + fill("x--", n)
		}},
		{"midline", func(n int) string { return mixed + "--b\r\n\r\n" + fill("x--b\r\nx--b--\r\n", n) }},
		{"manyboundaries", func(n int) string { // short ones, a line for none of them
			var b strings.Builder
			for i := range 32 {
				fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=q%d\r\n\r\n--q%d\r\n", i, i)
			}
			return b.String() + "\r\n" + fill("--q\r\n", n)
		}},
		{"gaps", parts("\r\nx\r\n--b--\r\n" + strings.Repeat("gap\r\n", 300))},
		{"gapfields", parts("\r\nx\r\n--b--\r\nContent-Type: text/html\r\n\r\n<b>")},
		{"preambles", parts("Content-Type: multipart/mixed; boundary=c\r\n\r\nContent-Type: x\r\n\r\n--c\r\n\r\nx")},
		{"onlyLF", func(n int) string { return mixed + fill("\n", n) }},
		{"onlyCR", func(n int) string { return mixed + fill("\r", n) }},
		{"nul", func(n int) string { return mixed + fill("\x00", n) }},
		{"fromlines", func(n int) string { return mixed + fill("From x\r\n", n) }},
	}
}

func nesting() []Hostile {
	deep := func(n int) string {
		return count(n, func(i int) string {
			return fmt.Sprintf("Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i)
		})
	}
	return []Hostile{
		{"parts", func(n int) string { return mixed + fill("--b\r\n\r\n", n) }},
		{"partslf", func(n int) string { return mixed + fill("--b\n\n", n) }},
		{"partsclosed", func(n int) string { return mixed + fill("--b--\r\n--b\r\n\r\nx\r\n", n) }},
		{"rfc822", func(n int) string { return fill("Content-Type: message/rfc822\r\n\r\n", n) }},
		{"digests", func(n int) string { return fill("Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\n", n) }},
		{"nested", deep},
		{"nestedlong", func(n int) string {
			return count(n, func(i int) string {
				b := strings.Repeat("b", 1+i%900)
				return "Content-Type: multipart/mixed; boundary=" + b + "\r\n\r\n--" + b + "\r\n"
			})
		}},
		{"nestedsame", func(n int) string { return fill("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n", n) }},
		{"nestedmail", func(n int) string {
			return fill("Received: a\r\nFrom: b\r\nTo: c\r\nContent-Type: message/rfc822\r\n\r\n", n)
		}},
		{"deepparts", func(n int) string { // many parts as deep as may be
			return deep(32*52) + "\r\n" + fill("--b30\r\n\r\nx\r\n", n)
		}},
		{"deepmultiparts", func(n int) string {
			return deep(31*52) + "\r\n" + count(n, func(i int) string {
				return fmt.Sprintf("--b30\r\nContent-Type: multipart/mixed; boundary=c%d\r\n\r\n--c%d\r\n\r\nx\r\n", i, i)
			})
		}},
		{"mailsinmail", parts("Content-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\ny")},
		{"mailfiles", parts("Content-Type: application/octet-stream\r\n\r\nReceived: a\r\nFrom: b\r\nTo: c\r\n\r\nx")},
		{"mailfilesodd", parts("Content-Type: application/octet-stream\r\n\r\nReceived: a\r\nFrom: b\r\nTo: c\r\njunk\r\nContent-Transfer-Encoding: x\r\n\r\nx=")},
	}
}

func headers() []Hostile {
	return []Hostile{
		{"header", func(n int) string { return fill("X: y\r\n", n) + "\r\nx" }},
		{"headerto", func(n int) string { return fill("To: <a@b>\r\n", n) + "\r\nx" }},
		{"headersubject", func(n int) string { return fill("Subject: x\r\n", n) + "\r\nx" }},
		{"headerjunk", func(n int) string { return fill("junk\r\n", n) + "\r\nx" }},
		{"headerjunknul", func(n int) string { return fill("junk\r\na\x00\r\nX : y\r\n", n) + "\r\nx" }},
		{"headercolons", func(n int) string { return fill(":\r\n", n) + "\r\nx" }},
		{"headerdashes", func(n int) string { return mixed + "--b\r\n" + fill("--b x: y\r\n--x: y\r\n", n) }},
		{"headerblank", func(n int) string { return fill("Content-Type : text/html\r\n", n) + "\r\nx" }},
		{"longheader", func(n int) string { return "X: " + fill("x", n) + "\r\n\r\nx" }},
		{"longname", func(n int) string { return fill("x", n) + ": y\r\n\r\nx" }},
		{"longlines", func(n int) string { return "X: y" + fill("\r\n "+strings.Repeat("x", 990), n) + "\r\n\r\nx" }},
		{"fold", func(n int) string { return "X: y\r\n" + fill(" z\r\n", n) + "\r\nx" }},
		{"foldfirst", func(n int) string { return fill(" z\r\n", n) + "\r\nx" }},
		{"bareCR", func(n int) string { return "X: y\r" + fill("a: b\r", n) + "\r\n\r\nx" }},
		{"bodyfields", parts("\r\nContent-Type: x")},
		{"bodyfieldslong", func(n int) string { return mixed + fill("--b\r\n\r\nContent-Type: x\r", n) }},
		{"oddparts", parts("junk\r\nContent-Type : a\r\nX: a\x00\r\n\r\nContent-Type: y\r\n\r\nx")},
		{"nulladdresses", func(n int) string { return "To: " + fill("<>", n) + "\r\n\r\nx" }},
		{"route", func(n int) string { return "To: <" + fill("@a,", n) + ":b@c>\r\n\r\nx" }},
		{"comments", func(n int) string { return "To: \"a@b\"" + fill("(", n) + "\r\n\r\nx" }},
		{"commentsclosed", func(n int) string { return "To: a@b" + fill("()", n) + "\r\n\r\nx" }},
		{"literal", func(n int) string { return "To: a@[" + fill("1.", n) + "]\r\n\r\nx" }},
		{"phrase", func(n int) string { return "To: " + fill("a ", n) + "<a@b>\r\n\r\nx" }},
		{"quotedphrase", func(n int) string { return "To: " + fill("\"a\" ", n) + "<a@b>\r\n\r\nx" }},
		{"group", func(n int) string { return "To: " + fill("a:", n) + ";\r\n\r\nx" }},
		{"addresses", func(n int) string { return "To: " + fill("a@b, ", n) + "\r\nFrom: " + fill("a@b,", n) + "\r\n\r\nx" }},
		{"references", func(n int) string { return "References: " + fill("<a@b> ", n) + "\r\n\r\nx" }},
	}
}

// A piece is something that is repeated: the i-th of them.
type piece struct {
	name string
	make func(i int) string
}

// words are encoded words (RFC 2047): in a subject, in a name, and in the names of many parts.
func words() []Hostile {
	kinds := []piece{
		{"plain", same("=?utf-8?q?a?= ")},
		{"open", same("=?utf-8?q?a?= =?")},
		{"begun", same("=?a?q?")},
		{"charset", same("=?")},
		{"long", same("=?" + strings.Repeat("a", 60))},
		{"closed", same("?= ")},
		{"jis", same("=?iso-2022-jp?b?GyRC?= =?utf-8?q?x?= ")},
		{"utf7", same("=?utf-7?q?+AGE-?=\t")},
		{"unknown", func(i int) string { return fmt.Sprintf("=?x%d?q?a?= ", i) }},
		{"big5", same("=?big5?q?=a4?= =?gb18030?q?=81?= ")},
		{"base64", same("=?utf-8?b?====?= ")},
		{"blanks", same("=?utf-8?q?a?=" + strings.Repeat(" ", 50))},
	}
	var out []Hostile
	for _, k := range kinds {
		f := k.make
		out = append(out,
			Hostile{"words-subject-" + k.name, func(n int) string {
				var b strings.Builder
				for b.Len() < n { // each below the limit of one value
					b.WriteString("Subject: " + count(60_000, f) + "\r\n")
				}
				return b.String() + "\r\nx"
			}},
			Hostile{"words-name-" + k.name, field(file+"; filename=\"", f, "\"")},
			Hostile{"words-names-" + k.name, each(5000, func(n int) string { return file + "; filename=\"" + count(n, f) + "\"\r\n" })},
		)
	}
	return out
}

func parameters() []Hostile {
	kinds := []piece{
		{"same", same(";a=b")},
		{"names", func(i int) string { return fmt.Sprintf(";name=a%d.b%d", i, i) }},
		{"params", func(i int) string { return fmt.Sprintf(";p%d=a", i) }},
		{"2231", func(i int) string { return fmt.Sprintf(";\r\n filename*%d=a", i) }},
		{"2231back", func(i int) string { return fmt.Sprintf(";\r\n filename*%d=a", 99999-i) }},
		{"2231same", same("; filename*0*=utf-8''%41")},
		{"2231jis", same("; filename*=iso-2022-jp''%1b%24B%21")},
		{"2231utf7", func(i int) string { return fmt.Sprintf("; filename*=utf-7''+AGE-%d", i) }},
		{"semicolons", same(";")},
		{"equals", same("=")},
		{"quotes", same("\"")},
		{"backslashes", same("; a=\"\\\\\\\"")},
		{"comment", same("(")},
		{"comments", same("() ")},
		{"commentparams", same("(;a=b)")},
		{"junk", same(" a b")},
		{"boundaries", func(i int) string { return fmt.Sprintf(";boundary=b%d", i) }},
		{"unquoted", func(i int) string { return fmt.Sprintf(";name=a%d b%d, c (d)", i, i) }},
		{"colons", func(i int) string {
			return fmt.Sprintf("; name=\"%s\"", count(300, func(k int) string { return fmt.Sprintf(":%d.%d", i, k) }))
		}},
		{"single", func(i int) string { return fmt.Sprintf(";name='a%d'", i) }},
	}
	var out []Hostile
	for _, k := range kinds {
		f := k.make
		out = append(out,
			Hostile{"params-" + k.name, field("Content-Type: a/b", f, "")},
			Hostile{"params-fields-" + k.name, func(n int) string { // many fields with few each
				return count(n, func(i int) string {
					return file + f(3*i) + f(3*i+1) + f(3*i+2) + "\r\n"
				}) + "\r\nx"
			}},
			Hostile{"params-types-" + k.name, func(n int) string {
				return count(n, func(i int) string { return "Content-Type: a/b" + f(2*i) + f(2*i+1) + "\r\n" }) + "\r\nx"
			}},
			Hostile{"params-parts-" + k.name, each(1500, func(n int) string { return "Content-Type: a/b" + count(n, f) + "\r\n" })},
			Hostile{"params-bigparts-" + k.name, each(200_000, func(n int) string {
				return count(n, func(i int) string { return file + f(3*i) + f(3*i+1) + f(3*i+2) + "\r\n" })
			})},
		)
	}
	long := strings.Repeat("t", 100_000)
	return append(out,
		Hostile{"manytypes", func(n int) string {
			return fill("Content-Type: multipart/mixed; boundary=a; boundary=b\r\n", n) + "\r\n--a\r\n"
		}},
		Hostile{"longtype", each(200_000, func(int) string {
			return "Content-Type: a/" + long + count(1500, func(i int) string { return fmt.Sprintf(";boundary=%d", i) }) + "\r\n" + "Content-Transfer-Encoding: base64, x-uue, quoted-printable\r\n"
		})},
		Hostile{"encodings", each(200_000, func(n int) string { return fill("Content-Transfer-Encoding: base64 7bit uue quoted-printable\r\n", n) })},
		Hostile{"longencoding", each(200_000, func(n int) string { return "Content-Transfer-Encoding: " + fill("base64,", n) + "\r\n" })},
		Hostile{"description", each(200_000, func(n int) string { return "Content-Description: " + fill("/.a", n) + "\r\n" })},
		Hostile{"charset", each(200_000, func(n int) string { return "Content-Type: text/html; charset=" + fill("utf", n) + "\r\n" })},
	)
}

func encodings() []Hostile {
	body := func(header, s string) func(int) string {
		return func(n int) string { return header + "\r\n" + fill(s, n) }
	}
	const uu = "Content-Transfer-Encoding: uuencode\r\n"
	return []Hostile{
		{"base64", body(b64, "WA==")},
		{"base64lines", body(b64, "A\r\n")},
		{"base64pads", body(b64, "=")},
		{"base64stray", body(b64, "*")},
		{"base64url", body(b64, "A-_A")},
		{"base64blank", body(b64, " ")},
		{"b64parts", parts(b64 + "\r\n*a=a")},
		{"b64partsbig", parts(b64 + "\r\n" + strings.Repeat("WA=-*", 2000))},
		{"qp", body(qp, "= ")},
		{"qpsp", body(qp, " ")},
		{"qpeq", body(qp, "=")},
		{"qpbad", body(qp, "=Z")},
		{"qpsoft", body(qp, "=\r\n")},
		{"qpblanks", body(qp, "="+strings.Repeat(" ", 998))},
		{"qpheld", func(n int) string { return qp + "\r\n= \rX" + fill("a", n) }}, // not a soft line break after all
		{"qpblankscr", body(qp, strings.Repeat(" ", 998)+"\r")},
		{"qpescapes", body(qp, "=41")},
		{"uu", body(uu, "begin 644 a\r\nM\r\nM\r\nM\r\n")},
		{"uufull", func(n int) string { return uu + "\r\nbegin 644 a\r\n" + fill("_\r\n", n) }},
		{"uulong", func(n int) string { return uu + "\r\nbegin 644 a\r\n" + fill("M", n) }},
		{"uubegins", body(uu, "begin 644 a\r\nend\r\n")},
		{"uuparts", parts(uu + "\r\nbegin 644 a\r\n" + strings.Repeat("_\r\n", 1000))},
	}
}

// readings are those of which clients may see very many.
func readings() []Hostile {
	return []Hostile{
		{"readings-all", func(n int) string {
			return "Content-Type: multipart/mixed; boundary=a; boundary=b; boundary*0=a; boundary*1=b\r\nContent-Type: message/rfc822\r\n" +
				"Content-Transfer-Encoding: base64\r\nContent-Transfer-Encoding: x\r\njunk\r\nX: a\x00\r\n\r\n" +
				fill("--a\r\n\r\n--b\r\nContent-Transfer-Encoding: base64\r\n\r\nLS1iDQ==*-\r\n --a x\r\n\r--b\r\n", n)
		}},
		{"readings-encodings", parts("Content-Transfer-Encoding: base64 x 7bit\r\n\r\nWA==WA*-=\r\n=ZZ")},
		{"readings-types", parts("Content-Type: text/plain; boundary=x\r\nContent-Type: text/html\r\nContent-Type: a/b\r\n\r\n--x\r\n\r\nx")},
		{"readings-big", func(n int) string { // each reads all of it
			return "Content-Type: text/plain\r\nContent-Type: a/a; boundary=1; boundary=2; boundary=3; boundary=4; boundary=5; boundary=6; boundary=7; boundary=8\r\n\r\n" + fill("x\r\n", n)
		}},
		{"readings-mails", func(n int) string { // each has a mail of its own in it
			return "Content-Type: application/octet-stream\r\n" + "Content-Transfer-Encoding: base64\r\n\r\n" + nestedBase64(n)
		}},
		{"readings-partial", parts("Content-Type: message/partial; boundary=x\r\nContent-Type: message/external-body\r\n\r\nA: b\r\n\r\nx")},
	}
}

// nestedBase64 is a mail in base64, in a mail in base64 and so on, each damaged so that decoders
// differ about its end.
func nestedBase64(n int) string {
	inner := "Received: a\r\nFrom: b\r\nTo: c\r\nContent-Type: text/plain\r\n\r\n" + fill("hello ", n/16)
	for len(inner) < n/2 {
		enc := base64.StdEncoding.EncodeToString([]byte(inner))
		half := len(enc) / 8 * 4
		inner = "Received: a\r\nFrom: b\r\nTo: c\r\njunk\r\nContent-Type: application/octet-stream\r\n" + b64 + "\r\n" + enc[:half] + "WA==" + enc[half:] + "*-_\r\n"
	}
	return base64.StdEncoding.EncodeToString([]byte(inner))
}

// contents are what scanners are to choke on.
func contents() []Hostile {
	page := "Content-Type: text/html\r\n\r\n"
	return []Hostile{
		{"html-lt", func(n int) string { return page + fill("<", n) }},
		{"html-nest", func(n int) string { return page + fill("<a><b>", n) }},
		{"html-attrs", func(n int) string { return page + "<a " + fill("a=b ", n) }},
		{"html-open", func(n int) string { return page + fill("<a href='", n) }},
		{"html-comments", func(n int) string { return page + fill("<!--", n) }},
		{"html-script", func(n int) string { return page + fill("<script>", n) }},
		{"html-urls", func(n int) string { return page + fill("<a href=javascript:x>", n) }},
		{"html-style", func(n int) string { return page + "<style>" + fill("@import url(x);", n) }},
		{"html-entities", func(n int) string { return page + "<a href=" + fill("&#", n) }},
		{"html-pages", parts(page + "<script>x</script>")},
		{"html-utf7", func(n int) string { return "Content-Type: text/html; charset=utf-7\r\n\r\n" + fill("+ADw-", n) }},
		{"textparts", parts("Content-Type: text/plain\r\n\r\nhello")},
		{"programs", parts(file + "; filename=a.exe\r\n\r\nMZ")},
		{"zips", parts(file + "; filename=a.zip\r\n\r\nPK\x03\x04")},
		{"pk", func(n int) string { return "Content-Type: application/zip\r\n\r\n" + fill("PK\x03\x04", n) }},
		{"pkend", func(n int) string { return "Content-Type: application/zip\r\n\r\n" + fill("PK\x05\x06", n) }},
		{"gz", func(n int) string {
			return "Content-Type: application/gzip\r\n\r\n" + fill("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", n)
		}},
		{"tarhead", func(n int) string {
			return "Content-Type: application/x-tar\r\n\r\n" + fill(strings.Repeat("\x00", 257)+"ustar"+strings.Repeat("\x00", 250), n)
		}},
	}
}
