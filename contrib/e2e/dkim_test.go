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
