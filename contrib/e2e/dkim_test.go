package e2e

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-msgauth/dkim"

	"rastel/contrib/rig"
)

func TestDKIMStillVerifies(t *testing.T) {
	eachMTA(t, func(t *testing.T, mta string) {
		w := newWorld(t, setup{mta: mta})
		_, ed, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		rs, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		i := 0
		for keyName, key := range map[string]crypto.Signer{"ed25519": ed, "rsa": rs} {
			for _, c := range []dkim.Canonicalization{dkim.CanonicalizationSimple, dkim.CanonicalizationRelaxed} {
				to := fmt.Sprintf("dkim%d@%s", i, rig.Domain)
				i++
				t.Run(keyName+" "+string(c), func(t *testing.T) {
					w := w.in(t)
					w.mustTake(to, signed(t, key, c))
					wantVerified(t, w.only(to).Raw, key.Public())
				})
			}
		}
	})
}

func signed(t *testing.T, key crypto.Signer, c dkim.Canonicalization) []byte {
	t.Helper()
	var out bytes.Buffer
	raw := samples(t)[1].Raw // the newsletter: several parts
	err := dkim.Sign(&out, bytes.NewReader(raw), &dkim.SignOptions{
		Domain: "sender.test", Selector: "s", Signer: key, HeaderCanonicalization: c, BodyCanonicalization: c,
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestResultIsRecordedBeforeTheChange: a message whose body is defanged has no good signature any
// more, so it tells what the signature was worth, and nobody else tells so in our name.
func TestResultIsRecordedBeforeTheChange(t *testing.T) {
	eachMTA(t, func(t *testing.T, mta string) {
		public, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		dns, err := rig.StartDNS()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { dns.Stop() })
		dns.Set("s._domainkey.sender.test", "v=DKIM1; k=ed25519; p="+base64.StdEncoding.EncodeToString(public))
		w := newWorld(t, setup{mta: mta, dns: dns.Addr})
		forged := "Authentication-Results: " + authserv + "; dkim=pass header.d=bank.example\r\n"
		html := "From: alice@sender.test\r\nSubject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/html\r\n\r\n<b onclick=x>hello</b>\r\n"
		var good bytes.Buffer
		if err := dkim.Sign(&good, strings.NewReader(html), &dkim.SignOptions{Domain: "sender.test", Selector: "s", Signer: key}); err != nil {
			t.Fatal(err)
		}
		for i, c := range []struct{ name, raw, result string }{
			{"good", forged + good.String(), "dkim=pass header.d=sender.test header.s=s"},
			{"changed on its way", forged + strings.Replace(good.String(), "hello", "hullo", 1), `dkim=fail reason="body hash did not verify" header.d=sender.test header.s=s`},
			{"plain", forged + strings.Replace(html, " onclick=x", "", 1), ""},
		} {
			t.Run(c.name, func(t *testing.T) {
				w := w.in(t)
				to := fmt.Sprintf("recorded%d@%s", i, rig.Domain)
				w.mustTake(to, []byte(c.raw))
				wantRecorded(t, string(w.only(to).Raw), c.result)
			})
		}
	})
}

// wantRecorded wants the result right below the Received field of the MTA, and no other in our name.
func wantRecorded(t *testing.T, raw, result string) {
	t.Helper()
	if result == "" {
		if !strings.Contains(raw, "bank.example") {
			t.Errorf("a message that needs no change was changed:\n%s", raw)
		}
		return
	}
	header, _, _ := strings.Cut(raw, "\r\n\r\n")
	var names []string
	for _, line := range strings.Split(header, "\r\n") {
		if name, _, ok := strings.Cut(line, ":"); ok && line[0] != ' ' && line[0] != '\t' {
			names = append(names, name)
		}
	}
	at := slices.Index(names, "Authentication-Results")
	if at < 1 || slices.ContainsFunc(names[:at], func(n string) bool { return n != "Received" && n != "Return-Path" }) {
		t.Errorf("the fields are %q, want Authentication-Results below those of the MTA", names)
	}
	if got := strings.Join(strings.Fields(header), " "); !strings.Contains(got, "Authentication-Results: "+authserv+"; "+result) || strings.Contains(got, "bank.example") {
		t.Errorf("got\n%s\nwant %s; %s and nothing of the forged field", raw, authserv, result)
	}
}

func wantVerified(t *testing.T, raw []byte, key crypto.PublicKey) {
	t.Helper()
	record := "v=DKIM1; k=ed25519; p="
	if k, ok := key.(ed25519.PublicKey); ok {
		record += base64.StdEncoding.EncodeToString(k)
	} else {
		der, err := x509.MarshalPKIXPublicKey(key)
		if err != nil {
			t.Fatal(err)
		}
		record = "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(der)
	}
	got, err := dkim.VerifyWithOptions(bytes.NewReader(raw), &dkim.VerifyOptions{
		LookupTXT: func(string) ([]string, error) { return []string{record}, nil },
	})
	if err != nil || len(got) != 1 || got[0].Err != nil {
		t.Errorf("Verify = %+v, %v, want one good signature on\n%s", got, err, raw)
	}
}
