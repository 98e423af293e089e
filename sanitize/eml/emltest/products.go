package emltest

import (
	"encoding/base64"
	"fmt"
	"strings"
)

// products are messages in which several things multiply: parts, fields, parameters, names,
// encodings and readings. A filter that takes each of them for itself takes their product.
func products() []Hostile {
	var out []Hostile
	for _, list := range [][]Hostile{fieldsOfParts(), namesOfParts(), folds(), crowds(), mailsWithin(), ambiguousParts()} {
		out = append(out, list...)
	}
	return out
}

// fieldsOfParts have many fields of one name in each part.
func fieldsOfParts() []Hostile {
	kinds := []piece{
		{"types", func(i int) string {
			return fmt.Sprintf("Content-Type: text/x%d; boundary=b%d; name=n%d.e%d\r\n", i, i, i, i)
		}},
		{"dispositions", func(i int) string {
			return fmt.Sprintf("Content-Disposition: attachment; filename=n%d.e%d\r\n", i, i)
		}},
		{"encodings", func(i int) string {
			return "Content-Transfer-Encoding: " + []string{"base64", "x-uue", "7bit", "quoted-printable", "x"}[i%5] + "\r\n"
		}},
		{"locations", func(i int) string { return fmt.Sprintf("Content-Location: a%d.e%d\r\n", i, i) }},
		{"ids", func(i int) string { return fmt.Sprintf("Content-ID: <a%d@b>\r\n", i) }},
		{"damaged", func(i int) string { return fmt.Sprintf("Content-Type: text/ html/x%d (a\"b\r\n", i) }},
		{"words", func(i int) string { return fmt.Sprintf("Content-Description: =?utf-8?b?YS5leGU%d?=\r\n", i%10) }},
		{"junk", func(i int) string { return fmt.Sprintf("junk %d\r\nContent-Type : a/b%d\r\n", i, i) }},
	}
	var out []Hostile
	for _, k := range kinds {
		for _, room := range []int{1500, 30_000} {
			out = append(out, Hostile{fmt.Sprintf("fields-%s-%d", k.name, room), each(room, func(n int) string { return count(n, k.make) })})
		}
		out = append(out, Hostile{"fields-" + k.name, func(n int) string { return count(n, k.make) + "\r\nx" }})
	}
	return out
}

// namesOfParts have names in fragments (RFC 2231) that stand in any order, in each part.
func namesOfParts() []Hostile {
	shuffled := func(i int) int { return i * 7919 % 1009 }
	kinds := []piece{
		{"shuffled", func(i int) string { return fmt.Sprintf(";\r\n filename*%d=a%d", shuffled(i), i) }},
		{"extended", func(i int) string { return fmt.Sprintf(";\r\n filename*%d*=utf-8'en'%%41%d", shuffled(i), i) }},
		{"mixed", func(i int) string {
			return fmt.Sprintf("; filename*%d*=%%4%d; name*%d=b; filename=c%d; file*=x''y%d", shuffled(i), i%10, i, i, i)
		}},
		{"boundary", func(i int) string { return fmt.Sprintf("; boundary*%d=b%d", shuffled(i), i) }},
		{"charset", func(i int) string { return fmt.Sprintf("; charset=x%d; charset*%d=utf", i, i) }},
		{"words", func(i int) string { return fmt.Sprintf("; filename=\"=?utf-8?q?a=2Ee%d?=\"", i) }},
		{"percent", func(i int) string { return fmt.Sprintf("; filename=%%61%%2e%d", i) }},
		{"paths", func(i int) string { return fmt.Sprintf("; filename=\"..\\\\../a%d:b%d.e\"", i, i) }},
	}
	var out []Hostile
	for _, k := range kinds {
		for _, room := range []int{1500, 30_000} {
			out = append(out, Hostile{fmt.Sprintf("fragments-%s-%d", k.name, room), each(room, func(n int) string { return file + count(n, k.make) + "\r\n" })})
		}
		out = append(out, Hostile{"fragments-multipart-" + k.name, each(1500, func(n int) string { return "Content-Type: multipart/mixed" + count(n, k.make) + "\r\n" })})
	}
	out = append(out, Hostile{"fragments-marks", field(file+"; filename ", same("*0"), "=a.exe")},
		Hostile{"longname-joiners", field(file+"; filename=\"a", same("\u200d"), "\"")},
		Hostile{"fragments-marks-30000", each(30_000, func(n int) string { return file + "; filename " + fill("*0", n) + "=a.exe\r\n" })})
	long := map[string]string{"dots": ".a", "blanks": " ", "colons": ":", "percents": "%41", "odd": "\xe2\x80\xae", "bytes": "\xe4", "combining": "e\u0301", "marks": "\u0301"}
	for _, name := range []string{"dots", "blanks", "colons", "percents", "odd", "bytes", "combining", "marks"} {
		out = append(out, Hostile{"longnames-" + name, each(30_000, func(n int) string { return file + "; filename=\"a" + fill(long[name], n) + ".exe\"\r\n" })})
	}
	return out
}

// folds are fields in lines of next to nothing.
func folds() []Hostile {
	onebyte := func(text string) string { return strings.ReplaceAll(text, "\x00", "\r\n ") }
	kinds := []piece{
		{"to", same("a\x00@\x00b\x00,\x00")},
		{"subject", same("=?utf-8?q?a?=\x00")},
		{"type", same(";\x00a\x00=\x00b\x00")},
		{"blank", same("\x00")},
		{"tabs", same("\r\n\t")},
		{"cr", same("\r \n ")},
		{"comment", same("(\x00a\x00)\x00")},
		{"quoted", same("\"\x00a\x00\"\x00")},
	}
	var out []Hostile
	for _, k := range kinds {
		f := func(i int) string { return onebyte(k.make(i)) }
		for _, name := range []string{"To", "Subject", "Content-Type", "Date"} {
			begin := name + ": "
			if name == "Content-Type" {
				begin += "a/b"
			}
			out = append(out, Hostile{"folds-" + k.name + "-" + strings.ToLower(name), func(n int) string {
				return count(n, func(int) string { return begin + count(60_000, f) + "\r\n" }) + "\r\nx"
			}})
		}
		out = append(out, Hostile{"folds-" + k.name + "-parts", each(1500, func(n int) string { return "Content-Type: a/b" + count(n, f) + "\r\n" })})
	}
	return out
}

// crowds are very many addresses, identifiers and fields that a filter takes apart.
func crowds() []Hostile {
	lists := []piece{
		{"plain", func(i int) string { return fmt.Sprintf("a%d@b%d.example, ", i, i) }},
		{"names", func(i int) string { return fmt.Sprintf("\"A, %d\" <a%d@b.example>, ", i, i) }},
		{"words", func(i int) string { return fmt.Sprintf("=?utf-8?q?=40%d?= <a%d@b.example>, ", i, i) }},
		{"forged", func(i int) string { return fmt.Sprintf("\"c%d@d.example\" <a%d@b.example>, ", i, i) }},
		{"groups", func(i int) string { return fmt.Sprintf("g%d: a%d@b, c@d;, ", i, i) }},
		{"open", same("<a@b")},
		{"commas", same(",")},
		{"ats", same("@")},
		{"backslashes", same("\"\\")},
		{"hosts", same("a@b.")},
		{"idn", func(i int) string { return fmt.Sprintf("a@xn--%d.example, ", i) }},
		{"bytes", same("\xe4@\xe4, ")},
	}
	var out []Hostile
	for _, k := range lists {
		out = append(out,
			Hostile{"crowd-" + k.name, func(n int) string {
				return "From: a@b\r\n" + count(n, func(int) string { return "To: " + count(60_000, k.make) + "\r\n" }) + "\r\nx"
			}},
			Hostile{"crowd-from-" + k.name, func(n int) string {
				return count(n, func(int) string {
					return "From: " + count(1000, k.make) + "\r\nReply-To: " + count(1000, k.make) + "\r\n"
				}) + "\r\nx"
			}},
		)
	}
	fields := []piece{
		{"received", func(i int) string {
			return fmt.Sprintf("Received: from a%d by b with ESMTP id %d; Tue, 24 Nov 2026 00:00:00 +0000\r\n", i, i)
		}},
		{"dates", func(i int) string { return fmt.Sprintf("Date: Tue, 24 Nov 2026 00:00:%d +0000 (x)\r\n", i) }},
		{"ids", func(i int) string { return fmt.Sprintf("Message-ID: <%d@a> <b>\r\n", i) }},
		{"dkim", func(i int) string {
			return fmt.Sprintf("DKIM-Signature: v=1; a=rsa-sha256; d=a%d; s=b; h=from:to; bh=AAAA; b=BBBB\r\n", i)
		}},
		{"arc", func(i int) string {
			return fmt.Sprintf("ARC-Seal: i=%d; a=rsa-sha256; d=a; s=b; cv=pass; b=AA\r\nARC-Message-Signature: i=%d; d=a; s=b; h=from; bh=A; b=B\r\nARC-Authentication-Results: i=%d; a; spf=pass\r\n", i, i, i)
		}},
		{"results", func(i int) string { return fmt.Sprintf("Authentication-Results: a%d; spf=pass\r\n", i) }},
		{"lists", func(i int) string { return fmt.Sprintf("List-Unsubscribe: <https://a/%d>, <mailto:b@c>\r\n", i) }},
		{"versions", same("MIME-Version: 1.0 (x)\r\n")},
		{"longnames", func(i int) string { return fmt.Sprintf("X-%s%d: y\r\n", strings.Repeat("n", 900), i) }},
		{"bytes", same("Subject: \xe4\x00\xff\r\n")},
	}
	for _, k := range fields {
		out = append(out,
			Hostile{"crowd-fields-" + k.name, func(n int) string { return count(n, k.make) + "\r\nx" }},
			Hostile{"crowd-mails-" + k.name, parts("Content-Type: message/rfc822\r\n\r\n" + count(1000, k.make) + "\r\nx")},
		)
	}
	return out
}

// mailsWithin are messages within messages, whole, in fragments and encoded.
func mailsWithin() []Hostile {
	const mail = "Content-Type: message/rfc822\r\n"
	wrap := func(depth int, text, header string) string {
		for range depth {
			text = header + b64 + "\r\n" + lines64(text)
		}
		return text
	}
	return []Hostile{
		{"mails-partial", func(n int) string {
			return fill(mail+"\r\nContent-Type: message/partial; id=a; number=1; total=2\r\n\r\n", n)
		}},
		{"mails-partials", parts("Content-Type: message/partial; id=a; number=1; total=2\r\n\r\n" + mail + "\r\nSubject: x\r\n\r\ny")},
		{"mails-external", parts("Content-Type: message/external-body; access-type=url; url=x\r\n\r\n" + mail + "\r\nSubject: x\r\n\r\ny")},
		{"mails-deep-base64", func(n int) string { return wrap(10, fill("hello\r\n", n/18), mail) }},
		{"mails-deeper-base64", func(n int) string { return wrap(25, fill("hello\r\n", n/1330), mail) }},
		{"mails-deep-parts", func(n int) string {
			return wrap(4, parts(mail+"\r\nSubject: x\r\n\r\ny")(n/4), mail)
		}},
		{"mails-deep-files", func(n int) string {
			return wrap(10, "Received: a\r\nFrom: b\r\nTo: c\r\n\r\n"+fill("hello\r\n", n/18), "From: a\r\nTo: b\r\nReceived: c\r\nContent-Type: application/octet-stream\r\n")
		}},
		{"mails-base64", parts(wrap(3, "Subject: x\r\n\r\n"+strings.Repeat("hello\r\n", 20), mail))},
		{"mails-ambiguous", parts(strings.ReplaceAll(wrap(3, "Subject: x\r\n\r\n"+strings.Repeat("hello\r\n", 20), mail), "\r\nQ", "==\r\n*Q"))},
		{"mails-qp", parts(mail + qp + "\r\n" + mail + qp + "\r\nSubject:=20x=\r\n=0D=0A\r\nContent-Type: text/html\r\n\r\n=3Cb>")},
		{"mails-uu", parts(mail + "Content-Transfer-Encoding: x-uue\r\n\r\nbegin 644 a.eml\r\n#0V%T\r\n`\r\nend")},
		{"mails-digests", parts("Content-Type: multipart/digest; boundary=c\r\n\r\n--c\r\n\r\nSubject: a\r\n\r\nx\r\n--c\r\n\r\nSubject: b\r\n\r\nx\r\n--c--")},
		{"mails-multipart-base64", parts("Content-Type: multipart/mixed; boundary=c\r\n" + b64 + "\r\n" + lines64("--c\r\n\r\nx\r\n--c\r\n\r\ny\r\n--c--\r\n"))},
	}
}

// lines64 is text in base64.
func lines64(text string) string {
	var b strings.Builder
	for enc := base64.StdEncoding.EncodeToString([]byte(text)); enc != ""; {
		n := min(76, len(enc))
		b.WriteString(enc[:n] + "\r\n")
		enc = enc[n:]
	}
	return b.String()
}

// ambiguousParts have parts that each are read in many ways.
func ambiguousParts() []Hostile {
	bound := func(i int) string {
		return fmt.Sprintf("Content-Type: multipart/mixed; boundary=b%d; boundary=c%d; boundary*0=b; boundary*1=c%d\r\n\r\n--b%d\r\n\r\n--c%d\r\n\r\nx\r\n", i, i, i, i, i)
	}
	return []Hostile{
		{"ways-boundaries", func(n int) string { return count(n, bound) }},
		{"ways-boundaries-parts", func(n int) string { return mixed + count(n, func(i int) string { return "--b\r\n" + bound(i) }) }},
		{"ways-unclosed", func(n int) string {
			return mixed + count(n, func(i int) string {
				return fmt.Sprintf("--b\r\nContent-Type: multipart/mixed; boundary=c%d\r\n\r\n--c%d\r\n\r\nx\r\n", i, i)
			})
		}},
		{"ways-unclosed-late", func(n int) string {
			open := func(i int) string {
				return fmt.Sprintf("--b\r\nContent-Type: multipart/mixed; boundary=c%d\r\n\r\n--c%d\r\n\r\nx\r\n", i, i)
			}
			return mixed + count(4000, open) + "--b\r\n\r\n" + count(n, func(i int) string { return fmt.Sprintf("--c%d\r\n\r\nx\r\n", i%60) })
		}},
		{"ways-case", func(n int) string {
			return "Content-Type: multipart/mixed; boundary=abcdefghij\r\n\r\n" + fill("--ABCDEFGHIJ\r\n\r\nx\r\n--Abcdefghij\r\n", n)
		}},
		{"ways-nulfields", parts("Con\x00tent-Type: text/html\r\n\x00\r\n\x00--b\r\nx")},
		{"ways-emptylines", parts("\r\n\r\n\r\nContent-Type: text/html\r\n\r\n<b>")},
		{"ways-blankfold", parts("Content-Type: text/plain;\r\n \t \r\n name=a.exe\r\n \r\n\r\nx")},
		{"ways-base64", parts("Content-Type: text/html\r\n" + b64 + "\r\nPGI+=PGI+\r\n\r\n-_*PGI+==\r\nA")},
		{"ways-base64-types", parts("Content-Type: text/html\r\nContent-Type: message/rfc822\r\nContent-Type: multipart/mixed; boundary=x\r\n" + b64 + qp + "\r\nPGI+=PGI+\r\n-_*PGI+==\r\nA")},
		{"ways-base64-names", each(1500, func(n int) string {
			return b64 + file + count(n, func(i int) string { return fmt.Sprintf("; filename=a%d.e%d", i, i) }) + "\r\n\r\nWA==*WA=="
		})},
		{"ways-qp", parts(qp + "\r\n=3Cb=\r\n=3\r\nD =\t\r\n=zz=0A=")},
		{"ways-uu", parts("\r\nbegin 644 a.exe\r\n#0V%T\r\n`\r\nbegin 644 b.exe\r\n#0V%T")},
		{"ways-yenc", parts("\r\n=ybegin line=128 size=3 name=a.exe\r\nabc\r\n=yend size=3")},
		{"ways-binhex", parts("\r\n(This file must be converted with BinHex 4.0)\r\n\r\n:$f*TEQKPH#jdD@0YE@9N!!!!!!:")},
		{"ways-gaps", parts("\r\nx\r\n--b--\r\nContent-Type: text/html\r\n" + b64 + "\r\nPGI+=PGI+\r\n")},
		{"ways-damagedtypes", parts("Content-Type: text/html multipart/mixed; message/rfc822 boundary=\"c\r\n\r\n--c\r\n\r\nx")},
		{"ways-wordtypes", parts("Content-Type: =?utf-8?q?text/html;_name=3Da.exe?=; boundary==?utf-8?q?c?=\r\n\r\n--c\r\n\r\nx")},
		{"ways-oddblanks", parts("Content-Type:\xa0text/html;\x0bname=a.exe;\xc2\xa0boundary=c\r\n\r\n--c\r\n\r\nx")},
		{"ways-nested", func(n int) string { // ambiguous at each depth, again and again
			one := count(1500, func(i int) string {
				return fmt.Sprintf("Content-Type: multipart/mixed; boundary=n%d; boundary=m%d\r\njunk\r\n\r\n--n%d\r\n", i, i, i)
			})
			return parts(one + "\r\nx")(n)
		}},
	}
}
