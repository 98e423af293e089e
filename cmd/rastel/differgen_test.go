package main

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"
)

// A generator makes hostile messages: usual ones in which some things are odd. The same seed
// makes the same messages.
type generator struct {
	r     *rand.Rand
	n     int     // of the message
	p     float64 // how likely a thing is odd
	leafs int
	odd   []string // what is, for people
}

// message makes the next message.
func (g *generator) message() (raw []byte, odd []string) {
	g.n++
	g.leafs, g.odd = 0, nil
	g.p = []float64{0.02, 0.06, 0.06, 0.12, 0.25}[g.r.IntN(5)]
	header, body := g.entity(0)
	s := "From: a@example.org\nTo: b@example.net\nSubject: s\n"
	if g.pick(0.8) {
		s += "MIME-Version: 1.0\n"
	}
	s = g.lineEnds(g.block(s+header) + body)
	return []byte(s), g.odd
}

func (g *generator) pick(p float64) bool { return g.r.Float64() < p }

// one is one of the variants: the first, which is usual, unless something is to be odd.
func (g *generator) one(what string, variants ...string) string {
	if !g.pick(g.p) {
		return variants[0]
	}
	i := g.r.IntN(len(variants))
	if i > 0 {
		g.odd = append(g.odd, fmt.Sprintf("%s %d", what, i))
	}
	return variants[i]
}

// token is a text that no other leaf of any message holds.
func (g *generator) token() string {
	g.leafs++
	return fmt.Sprintf("tok%06dx%02dq", g.n, g.leafs)
}

// entity makes the header and the body of an entity.
func (g *generator) entity(depth int) (header, body string) {
	k := g.r.IntN(10)
	switch {
	case depth < 4 && (k < 4 || depth == 0 && k < 8):
		return g.multipart(depth)
	case depth < 4 && k == 8:
		return g.encapsulated(depth)
	}
	return g.leaf()
}

func (g *generator) leaf() (header, body string) {
	mediaType := []string{"text/plain", "text/html", "application/octet-stream", "image/png", "text/plain; charset=utf-8"}[g.r.IntN(5)]
	text := "some text " + g.token() + " and more of it, so that there are lines\nand lines\n"
	if mediaType == "text/html" {
		text = "<p>" + text + "<script>x</script></p>\n"
	}
	encoding := []string{"7bit", "base64", "base64", "base64", "quoted-printable", "quoted-printable"}[g.r.IntN(6)]
	switch encoding {
	case "base64":
		body = g.base64(text)
	case "quoted-printable":
		body = g.quotedPrintable(text)
	default:
		body = text
	}
	header = g.typeField(mediaType, "", "") + g.encodingField(encoding)
	if g.pick(0.3) {
		header += g.dispositionField()
	}
	return header, body
}

// base64 encodes a text, in lines or otherwise.
func (g *generator) base64(text string) string {
	s := base64.StdEncoding.EncodeToString([]byte(text))
	lines := func(s string, n int, end string) string {
		var b strings.Builder
		for ; len(s) > n; s = s[n:] {
			b.WriteString(s[:n] + end)
		}
		return b.String() + s + "\n"
	}
	pieces := func(n int) string {
		var b strings.Builder
		for i := 0; i < len(text); i += n {
			b.WriteString(base64.StdEncoding.EncodeToString([]byte(text[i:min(i+n, len(text))])))
		}
		return b.String()
	}
	at := 4 * g.r.IntN(len(s)/4)
	off := at + 1 + g.r.IntN(3)
	whole := lines(s, 76, "\n")
	return g.one("base64", whole,
		s+"\n", lines(s, 1, "\n"), lines(s, 75, "\n"), lines(s, 76, "\n\n"), lines(s, 20, " \n\t"), lines(s, 4, " "),
		lines(pieces(4), 76, "\n"), lines(pieces(1), 76, "\n"), lines(pieces(5), 76, "\n"), lines(pieces(4), 8, "\n"), lines(pieces(1), 4, "\n"),
		lines(s[:at]+"*"+s[at:], 76, "\n"), lines(s[:off]+"!"+s[off:], 76, "\n"), lines(s[:off]+"="+s[off:], 76, "\n"), lines(s[:at]+"="+s[at:], 76, "\n"),
		lines(s[:at]+"===="+s[at:], 76, "\n"), lines(s[:off]+"=="+s[off:], 76, "\n"), lines(s[:off]+"\x00"+s[off:], 76, "\n"), lines(s[:off]+"\xff"+s[off:], 76, "\n"), lines(s[:off]+"-"+s[off:], 76, "\n"),
		lines(s[:off]+"(a)"+s[off:], 76, "\n"), lines(s[:off]+"<!-- -->"+s[off:], 76, "\n"), lines(s[:off]+"\v"+s[off:], 76, "\n"), lines(s[:off]+"\f"+s[off:], 76, "\n"), lines(s[:off]+"\r"+s[off:], 76, "\n"),
		strings.TrimRight(whole, "=\n")+"\n", strings.TrimRight(whole, "=\n"), strings.TrimRight(whole, "\n"), whole+"text behind it\n", whole+"\n-- \nlist footer\n", whole+"AAAA\n", whole+"====\n",
		"some text\n"+whole, "A\n"+whole, "="+whole, "==\n"+whole, ">"+whole, "begin-base64 644 x\n"+whole+"====\n", "-----BEGIN X-----\n"+whole+"-----END X-----\n",
		strings.ReplaceAll(whole, "A", "=41"), strings.NewReplacer("+", "-", "/", "_").Replace(whole), s[1:]+"\n", s[:len(s)-5]+"\n",
	)
}

func (g *generator) quotedPrintable(text string) string {
	each := func(f func(c byte) string) string {
		var b strings.Builder
		for i := range len(text) {
			b.WriteString(f(text[i]))
		}
		return b.String()
	}
	usual := strings.ReplaceAll(text, "o", "=6F")
	return g.one("qp", usual,
		each(func(c byte) string { return fmt.Sprintf("=%02X", c) }), each(func(c byte) string { return fmt.Sprintf("=%02x", c) }),
		each(func(c byte) string { return string(c) + "=\n" }), each(func(c byte) string { return string(c) + "= \t\n" }),
		strings.ReplaceAll(text, "o", "=6f"), strings.ReplaceAll(usual, "\n", " \t\n"), strings.ReplaceAll(usual, "t", "=ZZt"), strings.ReplaceAll(usual, "\n", "=0D=0A"),
		strings.ReplaceAll(usual, "t", "=74=\r"), strings.ReplaceAll(text, "k", "=\n6B"), strings.ReplaceAll(text, "k", "=6=\nB"), strings.ReplaceAll(text, "k", "=\vk"), strings.ReplaceAll(text, "k", "k=\f\n"),
		usual+"=", usual+"=4", "=\n"+usual, strings.ReplaceAll(text, "k", "\xff=6B"), strings.ReplaceAll(text, "k", "==6B"), strings.ReplaceAll(text, "k", "= 6B"), strings.ReplaceAll(text, "t", "_"), strings.ReplaceAll(text, "k", "=\x006B"),
	)
}

func (g *generator) encodingField(e string) string {
	f := "Content-Transfer-Encoding"
	usual := f + ": " + e + "\n"
	if e == "7bit" && g.pick(0.5) {
		usual = ""
	}
	return g.one("encoding of "+e, usual,
		f+":"+e+"\n", f+":   "+e+"   \n", f+":\n "+e+"\n", f+":\n\t"+e+"\n", f+": "+strings.ToUpper(e)+"\n", strings.ToUpper(f)+": "+e+"\n",
		f+": "+e+" (comment)\n", f+": (comment) "+e+"\n", f+": (comment)"+e+"\n", f+": \""+e+"\"\n", f+": '"+e+"'\n", f+": <"+e+">\n", f+": "+e+";\n", f+": "+e+"; x=y\n", f+": "+e+",7bit\n", f+": 7bit, "+e+"\n", f+": 7bit "+e+"\n", f+": "+e+" 7bit\n",
		f+": x-"+e+"\n", f+": "+e+"\x00\n", f+": "+e+"\v\n", f+": "+e+"\f\n", f+": \v"+e+"\n", f+": "+e+".\n", f+": "+e+"\xa0\n", f+": "+e+"x\n", f+": "+e[:len(e)-1]+"\n", f+": \""+e+"\n", f+": ("+e+"\n", f+": "+e+")\n",
		f+" : "+e+"\n", f+"\t: "+e+"\n", f+"\x00: "+e+"\n", f+"\v: "+e+"\n", f+"\xa0: "+e+"\n", f+"; "+e+"\n", f+" "+e+"\n", f+"= "+e+"\n", "Content-Transfer\x00-Encoding: "+e+"\n", "Content-Transfer- Encoding: "+e+"\n", " "+f+": "+e+"\n", "X: y\r"+f+": "+e+"\n", "X: y\v"+f+": "+e+"\n", "X: y\f"+f+": "+e+"\n", "X: y\x85"+f+": "+e+"\n", "X: y\xe2\x80\xa8"+f+": "+e+"\n", "X: y\x1c"+f+": "+e+"\n", "X: y\x00\n"+f+": "+e+"\n", "X: y\r\r\n"+f+": "+e+"\n",
		f+": 7bit\n"+usual, usual+f+": 7bit\n", f+": base64\n"+usual, usual+f+": base64\n", f+": quoted-printable\n"+usual, f+":\n"+usual, usual+f+":\n", f+": x\n"+usual, usual+f+": x\n", f+": 8bit\n", f+": x-foo\n", f+": x-uuencode\n", f+": x-gzip64\n", f+": base64\n", f+": quoted-printable\n", f+": binary\n", "",
		"Content-Encoding: "+e+"\n", f+": =?us-ascii?Q?"+e+"?=\n", f+": b\n "+e+"\n", f+":\n\n", f+": "+e+"\n \n", f+": "+e+"\n\t\n X: y\n", f+": "+e+"\nX\n", "X\n"+f+": "+e+"\n", "X:\n"+f+": "+e+"\n", ":\n"+f+": "+e+"\n", ": x\n"+f+": "+e+"\n", "-: x\n"+f+": "+e+"\n", " \n"+f+": "+e+"\n", "\t\n"+f+": "+e+"\n", "From x\n"+f+": "+e+"\n", ">From x\n"+f+": "+e+"\n", "X Y: z\n"+f+": "+e+"\n", "X\x7f: z\n"+f+": "+e+"\n", "\xe4: z\n"+f+": "+e+"\n",
	)
}

func (g *generator) dispositionField() string {
	f := "Content-Disposition: "
	return g.one("disposition", f+"attachment; filename=\"file.txt\"\n",
		f+"attachment; filename=file.txt\n", f+"inline\n", f+"attachment; filename=file name.txt\n", f+"attachment; filename=\"file.txt\n", f+"attachment; filename=a.txt; filename=b.dat\n", f+"attachment; filename=a.txt; filename*=utf-8''b.dat\n", f+"attachment; filename*0=a.; filename*1=dat\n", f+"attachment; filename*0*=utf-8''a%2E; filename*1=dat\n", f+"attachment; filename*1=dat; filename*0=a.\n", f+"attachment; filename*0=a.; filename*2=dat\n", f+"attachment; filename*1=a.; filename*2=dat\n",
		f+"attachment; filename=\"=?utf-8?Q?a.dat?=\"\n", f+"attachment; filename==?utf-8?B?YS5kYXQ=?=\n", f+"attachment; filename=\"=?utf-8?Q?a.?= =?utf-8?Q?dat?=\"\n", f+"attachment; filename=\"a.txt=?utf-8?Q?.dat?=\"\n", f+"attachment;; filename=a.dat\n", f+"attachment filename=a.dat\n", f+"filename=a.dat\n", f+"attachment; filename (x) = a.dat\n", f+"attachment; filename=a.txt(.dat)\n", f+"attachment; filename=\"a\\.dat\"\n", f+"attachment; filename=\"a.txt\".dat\n", f+"attachment; filename='a.dat'\n", f+"attachment;\nfilename=a.dat\n", f+"attachment;\n filename=a.\n dat\n", f+"attachment; filename=\"a.\n dat\"\n", f+"attachment; filename=\"a.\n\tdat\"\n", f+"attachment; name=a.dat\n", f+"attachment; x=\"; filename=a.txt; \"; filename=b.dat\n", f+"attachment (filename=a.txt); filename=b.dat\n", f+"attachment; FILENAME=a.dat\n", f+"a.dat\n", f+"\"attachment; filename=a.dat\"\n", f+"attachment; filename=a.txt\n"+f+"attachment; filename=b.dat\n", f+"attachment, filename=a.dat\n", f+"attachment; filename:a.dat\n", f+"attachment; filename*0*=\"''a%2E\"; filename*1*=\"%64\"; filename*2=at\n", f+"attachment; filename*=utf-7''a.+AGQ-at\n", f+"attachment; filename*=''a.dat\n", f+"attachment; filename*=a.dat\n", f+"attachment; filename*=utf-8'a.dat\n", f+"attachment; filename*=\"utf-8''a.dat\"\n", f+"attachment; filename*00=a.; filename*01=dat\n", f+"attachment; filename*0 =a.; filename*1 =dat\n", f+"attachment; filename*0=a.; filename*0=b.; filename*1=dat\n",
	)
}

// typeField makes a Content-Type field. Next is a boundary that is not that of the entity.
func (g *generator) typeField(mediaType, boundary, next string) string {
	f := "Content-Type: "
	if boundary == "" {
		v := f + mediaType + "\n"
		return g.one("type of "+mediaType, v, "", "Content-Type:\n", "Content-Type: text\n", "Content-Type:\n "+mediaType+"\n", f+"\""+mediaType+"\"\n", f+strings.ToUpper(mediaType)+"\n", "Content-Type : "+mediaType+"\n", "content-type:"+mediaType+"\n",
			f+"text/html\n", f+"text/plain\n"+v, v+f+"text/plain\n", f+"text/html\n"+v, f+mediaType+" x\n", f+mediaType+" charset=x\n", f+";"+mediaType+"\n", f+" ; "+mediaType+"\n", f+"(x) "+mediaType+"\n", f+mediaType+" (x)\n", f+mediaType+"; boundary=q\n", f+"multipart/mixed; boundary=q\n", f+"message/rfc822\n", f+"message/partial; id=x; number=1; total=2\n", f+strings.Replace(mediaType, "/", " / ", 1)+"\n", f+strings.Replace(mediaType, "/", "/ ", 1)+"\n", f+strings.Replace(mediaType, "/", "\n /", 1)+"\n", f+mediaType+"\x00\n", f+mediaType+",\n", f+mediaType+", text/html\n", f+"text/html, "+mediaType+"\n", f+"text/html;\n"+v, f+"=?us-ascii?Q?"+mediaType+"?=\n", f+mediaType+"; charset=utf-16\n", f+mediaType+"; charset=utf-7\n", f+mediaType+"; charset=us-ascii; charset=utf-7\n")
	}
	b := boundary
	usual := f + mediaType + "; boundary=\"" + b + "\"\n"
	v := f + mediaType + "; "
	return g.one("type of multipart", usual,
		v+"boundary="+b+"\n", f+mediaType+";\n boundary=\""+b+"\"\n", f+mediaType+";\n\tboundary=\""+b+"\"\n", f+mediaType+";boundary=\""+b+"\"\n", f+strings.ToUpper(mediaType)+"; BOUNDARY=\""+b+"\"\n", v+"charset=utf-8; boundary=\""+b+"\"; type=\"text/html\"\n", usual[:len(usual)-1]+";\n", v+"boundary=\""+b+"  \"\n", v+"boundary=\"  "+b+"\"\n",
		v+"boundary=\""+b+"\"; boundary=\""+next+"\"\n", v+"boundary=\""+next+"\"; boundary=\""+b+"\"\n", v+"boundary="+b+"; boundary*=us-ascii''"+next+"\n", v+"boundary="+next+"; boundary*=us-ascii''"+b+"\n", v+"boundary*=us-ascii''"+b+"\n", v+"boundary*="+b+"\n", v+"boundary*0="+b[:2]+"; boundary*1="+b[2:]+"\n", v+"boundary*0*=us-ascii''"+b[:2]+"; boundary*1*="+b[2:]+"\n", v+"boundary*1="+b[2:]+"; boundary*0="+b[:2]+"\n", v+"boundary*0="+b[:2]+"; boundary*2="+b[2:]+"\n", v+"boundary*0="+b+"\n", v+"boundary*1="+b+"\n", v+"boundary="+next+"; boundary*0="+b[:2]+"; boundary*1="+b[2:]+"\n", v+"boundary="+b+"; boundary*0="+next[:2]+"; boundary*1="+next[2:]+"\n",
		v+"boundary=\""+b+"\n", v+"boundary="+b+"\"\n", v+"boundary='"+b+"'\n", v+"boundary=\"\"\n", v+"boundary=\n", v+"boundary\n", f+mediaType+"\n", f+mediaType+" boundary="+b+"\n", f+mediaType+"\n boundary="+b+"\n", f+mediaType+";; boundary="+b+"\n", f+mediaType+"; ; boundary="+b+"\n", f+mediaType+", boundary="+b+"\n", v+"boundary = "+b+"\n", v+"boundary= \""+b+"\"\n", v+"boundary:"+b+"\n", v+"boundary="+b+" x\n", v+"boundary="+b+", x\n", v+"boundary=\""+b+"\" x\n", v+"boundary=\""+b+"\"x\n", v+"boundary="+b+"(x)\n", v+"boundary=(x)"+b+"\n", v+"(x) boundary="+b+"\n", v+"boundary (x) ="+b+"\n", f+"(x) "+mediaType+"; boundary="+b+"\n", f+mediaType+" (x); boundary="+b+"\n", f+mediaType+"(; boundary="+next+"); boundary="+b+"\n", f+mediaType+" (x; boundary="+b+"); boundary="+next+"\n", f+mediaType+" (; boundary="+b+"\n", f+mediaType+" (\\); boundary="+next+"); boundary="+b+"\n",
		v+"x=\"; boundary="+next+"\"; boundary="+b+"\n", v+"x=\"; boundary="+b+"\"; boundary="+next+"\n", v+"x='; boundary="+next+"'; boundary="+b+"\n", v+"x=\\\"; boundary="+next+"; y=\\\"; boundary="+b+"\n", v+"x=\"\\\"; boundary="+next+"\"; boundary="+b+"\n", v+"x=\"\\\\\"; boundary="+b+"; y=\"; boundary="+next+"\"\n", v+"x=\"a\n b\"; boundary="+b+"\n", v+"x; boundary="+b+"\n", v+"=x; boundary="+b+"\n", v+"x-boundary="+next+"; boundary="+b+"\n", v+"boundaryx="+next+"; boundary="+b+"\n", v+"\"boundary\"="+b+"\n", v+"boundary=\""+b[:2]+"\\"+b[2:]+"\"\n", v+"boundary=\""+b[:2]+"\n "+b[2:]+"\"\n", v+"boundary=\""+b[:2]+"\"\""+b[2:]+"\"\n", v+"boundary=\"=?us-ascii?Q?"+b+"?=\"\n", v+"boundary=\""+b+"\"; x=y; boundary=\""+b+"\"\n",
		f+"\""+mediaType+"\"; boundary="+b+"\n", f+mediaType+"\n"+usual, usual+f+mediaType+"\n", usual+f+"text/plain\n", f+"text/plain\n"+usual, f+"text/plain; boundary="+b+"\n", f+"message/rfc822; boundary="+b+"\n", f+"multipart; boundary="+b+"\n", f+"multipart/; boundary="+b+"\n", f+"multipart/x; boundary="+b+"\n", f+"multi; boundary="+b+"\n", f+"/mixed; boundary="+b+"\n", f+"; boundary="+b+"\n", f+"boundary="+b+"\n", f+" ; "+mediaType+"; boundary="+b+"\n", f+";"+mediaType+"; boundary="+b+"\n", f+"multipart / mixed; boundary="+b+"\n", f+"multipart/ mixed; boundary="+b+"\n", f+"multipart\n /mixed; boundary="+b+"\n", f+"xmultipart/mixed; boundary="+b+"\n", f+"multipart/mixed/x; boundary="+b+"\n", f+"multipart/mixed: boundary="+b+"\n",
		"Content-Type:"+mediaType+"; boundary="+b+"\n", "Content-Type : "+mediaType+"; boundary="+b+"\n", "Content-Type\t: "+mediaType+"; boundary="+b+"\n", "Content-Type\x00: "+mediaType+"; boundary="+b+"\n", "Content-Type: "+mediaType+";\nboundary="+b+"\n", "X\n"+usual, " "+usual, "X: y\r"+usual, "X: y\v"+usual, "X: y\f"+usual, "X: y\x85"+usual, "X: y\x1d"+usual, "\n"+usual, " \n"+usual, ":\n"+usual, "Content-Type:\n\n "+mediaType+"; boundary="+b+"\n", "Content-Type:\n \n "+mediaType+"; boundary="+b+"\n", f+mediaType+";\n \n boundary="+b+"\n", f+mediaType+";\r boundary="+b+"\n", f+mediaType+";\x00 boundary="+b+"\n", f+mediaType+";\v boundary="+b+"\n", f+mediaType+"\v; boundary="+b+"\n", v+"boundary="+b+"\x00\n", v+"boundary="+b+"\v\n", v+"boundary="+b+"\xa0\n", v+"boundary=\""+b+"\x00x\"\n", v+"boundary=\x00"+b+"\n", "Content-Type:\r "+mediaType+"; boundary="+b+"\n", "")
}

// multipart makes an entity of parts.
func (g *generator) multipart(depth int) (header, body string) {
	b := fmt.Sprintf("BB%d%02d", g.n%10, g.r.IntN(100))
	next := g.one("other boundary", "CC"+b, b+"X", b[:len(b)-1], b+"--", "--"+b, strings.ToLower(b), b+" x", "")
	if len(next) < 3 {
		next = "DDD"
	}
	mediaType := []string{"multipart/mixed", "multipart/alternative", "multipart/related", "multipart/mixed", "multipart/digest", "multipart/report", "multipart/signed", "multipart/x-y", "multipart/parallel"}[g.r.IntN(9)]
	header = g.typeField(mediaType, b, next)
	inner := b // of an entity whose parts have other delimiters
	if g.pick(g.p / 3) {
		g.odd = append(g.odd, "delimiters of another boundary")
		inner = next
	}
	body = g.one("preamble", "", "This is a message in MIME.\n", "\n", "\n\n", "Content-Type: text/plain\n\n"+g.token()+"\n", g.token()+"\n", "Content-Transfer-Encoding: base64\n\n"+g.base64(g.token())+"\n", "begin 644 x\n#0V%T\n`\nend\n")
	for range 1 + g.r.IntN(3) {
		h, c := g.entity(depth + 1)
		body += g.delimiter(inner, next) + g.block(h) + c
		if g.pick(g.p / 4) {
			g.odd = append(g.odd, "no line end before a delimiter")
			body = strings.TrimRight(body, "\n")
		}
	}
	body += g.one("end", "\n--"+inner+"--\n", "\n--"+inner+"--", "", "\n", "\n--"+inner+"\n", "\n--"+inner+"-\n", "\n--"+inner+" --\n", "\n--"+inner+"-- \n", "\n--"+inner+"--x\n", "\n--"+inner+"--\x00\n", "\n--"+next+"--\n", "\n--"+inner+"--\nthe end\n", "\n--"+inner+"---\n", "\n --"+inner+"--\n", "\n--"+inner+"\n\n"+g.token()+"\n", "\n--"+inner+"--\n--"+inner+"\n\n"+g.token()+"\n--"+inner+"--\n", "\n--"+inner+"--\nContent-Transfer-Encoding: base64\n\n"+g.base64(g.token()), "\n--"+inner+"--\n\n"+g.token()+"\n", "\n--"+inner+"--\nbegin 644 x\n#0V%T\n`\nend\n")
	if g.pick(g.p / 4) {
		g.odd = append(g.odd, "an encoded multipart")
		return header + "Content-Transfer-Encoding: base64\n", g.base64(body)
	}
	return header, body
}

func (g *generator) delimiter(b, next string) string {
	return g.one("delimiter", "\n--"+b+"\n", "\n--"+b+" \n", "\n--"+b+"\t\n", "\n--"+b+" x\n", "\n--"+b+"x\n", "\n--"+b+"-\n", "\n--"+b+"--\n", "\n--"+b+"--\n--"+b+"\n", "\n--"+b+"--x\n", "\n--"+b+"-- \n", "\n--"+b+" --\n", "\n --"+b+"\n", "\n\t--"+b+"\n", "\n---"+b+"\n", "\n-"+b+"\n", "\n"+b+"\n", "\n-- "+b+"\n", "\n--"+strings.ToLower(b)+"\n", "\n--"+b[:len(b)-1]+"\n", "\n--\""+b+"\"\n", "\n--'"+b+"'\n", "\n--"+next+"\n", "\n--"+next+"\n--"+b+"\n", "\n--"+b+"\r", "\r--"+b+"\n", "\r--"+b+"\r", "\n--"+b+"\r\r\n", "\n--"+b+"\v\n", "\n--"+b+"\f\n", "\n--"+b+"\x00\n", "\n\x00--"+b+"\n", "\n\v--"+b+"\n", "\v--"+b+"\n", "\f--"+b+"\n", "\x85--"+b+"\n", "\x1c--"+b+"\n", "\n\n--"+b+"\n", "--"+b+"\n", "\n--"+b+"\n\n", "\n--"+b+"\n--"+b+"\n", "\n--"+b+"\xa0\n", "\n--"+b+";\n", "\n--"+b+"(x)\n", "\n>--"+b+"\n", "\n- --"+b+"\n", "\n--"+b+"=\n", "\n--"+b+"=20\n", "\n=2D-"+b+"\n", "\n--"+b+"\n \n", "\n--"+b+strings.Repeat(" ", 1000)+"\n", "\n--"+b+"\n ")
}

// encapsulated makes an entity that holds a message.
func (g *generator) encapsulated(depth int) (header, body string) {
	h, c := g.entity(depth + 1)
	mediaType := g.one("message type", "message/rfc822", "Message/RFC822", "message/rfc822; x=y", "message/global", "message/news", "message/rfc2822", "message/x", "message", "text/rfc822-headers", "message/delivery-status", "message/disposition-notification", "application/octet-stream; name=a.eml", "message/http", "message/external-body; access-type=x", "message/partial; id=x; number=1; total=1")
	header = "Content-Type: " + mediaType + "\n"
	body = g.one("message start", "", "\n", "From a@example.org Thu Jan  1 00:00:00 2026\n", ">From x\n", " \n", "\n\n") + g.block("From: c@example.org\nSubject: inner\n"+h) + c
	if g.pick(0.2) {
		header += g.encodingField("base64")
		return header, g.base64(body)
	}
	if g.pick(g.p) {
		g.odd = append(g.odd, "message in quoted-printable")
		if g.pick(0.5) { // what it is depends on whether it is decoded
			body = strings.Replace(body, "\n", []string{"=0A", "=0D=0A", "=0A=0A", "\nX: y=0A=0A\n", "=\n", "=0AX: y\n"}[g.r.IntN(6)], 1+g.r.IntN(3))
		} else {
			body = g.quotedPrintable(body)
		}
		return header + g.encodingField("quoted-printable"), body
	}
	return header, body
}

// block ends a header.
func (g *generator) block(fields string) string {
	return g.one("end of header", fields+"\n", fields+" \n", fields+"\t\n\n", fields+"X\n\n", fields+"\n\n", fields, fields+"\r\r\n", fields+"\r", fields+"\r\n\r\n", fields+"X: y\n", fields+"\x00\n", fields+"\v\n\n", fields+"\f\n\n", strings.TrimRight(fields, "\n")+"\r\r", "\n"+fields+"\n", " x\n"+fields+"\n", "x\n"+fields+"\n", strings.ReplaceAll(fields, "\n", "\r")+"\r", strings.ReplaceAll(fields, "\n", "\n\r")+"\n", strings.ReplaceAll(fields, "\n", "\n\n")+"\n", strings.ReplaceAll(fields, ": ", " : ")+"\n", strings.ReplaceAll(fields, ": ", ":\n ")+"\n", strings.ReplaceAll(fields, ": ", ":")+"\n", strings.ReplaceAll(fields, "\n", "\r\r\n")+"\n", strings.ReplaceAll(fields, "\n", "\n\t\n")+"\n", strings.ReplaceAll(fields, "; ", ";\n")+"\n", strings.ReplaceAll(fields, "; ", ";\n ")+"\n", strings.ReplaceAll(fields, "-", "\x00-")+"\n")
}

// lineEnds makes the line ends those of SMTP, or others.
func (g *generator) lineEnds(s string) string {
	usual := strings.ReplaceAll(s, "\n", "\r\n")
	half := func(a, b string) string {
		var out strings.Builder
		for line := range strings.Lines(s) {
			end := a
			if g.pick(0.5) {
				end = b
			}
			if text, ok := strings.CutSuffix(line, "\n"); ok {
				line = text + end
			}
			out.WriteString(line)
		}
		return out.String()
	}
	return g.one("line ends", usual, s, half("\r\n", "\n"), half("\r\n", "\r"), half("\n", "\r"), half("\r\n", "\r\r\n"), strings.ReplaceAll(s, "\n", "\r"), strings.ReplaceAll(s, "\n", "\n\r"), strings.ReplaceAll(s, "\n", "\r\r\n"))
}
