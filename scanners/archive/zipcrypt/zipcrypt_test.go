package zipcrypt

import (
	"bytes"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha1"
	"errors"
	"io"
	"strings"
	"testing"
)

// sealed is data as Reader expects it, behind what NewAES reads.
func sealed(t testing.TB, strength byte, password, data string) []byte {
	t.Helper()
	size := 8 + 8*int(strength)
	salt := bytes.Repeat([]byte{7}, size/2)
	keys, err := pbkdf2.Key(sha1.New, password, salt, rounds, 2*size+verifyLen)
	if err != nil {
		t.Fatal(err)
	}
	out := append(bytes.Clone(salt), keys[2*size:]...)
	a, err := NewAES(strength, bytes.NewReader(out))
	if err != nil {
		t.Fatal(err)
	}
	r, err := a.Reader([]byte(password), strings.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	secret, _ := io.ReadAll(io.LimitReader(r, int64(len(data)))) // the method is its own reverse
	mac := hmac.New(sha1.New, keys[size:2*size])
	mac.Write(secret)
	return append(append(out, secret...), mac.Sum(nil)[:macLen]...)
}

func opened(strength byte, password string, b []byte) (string, error) {
	r := bytes.NewReader(b)
	a, err := NewAES(strength, r)
	if err != nil {
		return "", err
	}
	before, behind := a.Overhead()
	d, err := a.Reader([]byte(password), r, int64(len(b))-before-behind)
	if err != nil {
		return "", err
	}
	out, err := io.ReadAll(d)
	return string(out), err
}

func TestAESTellsAndOpens(t *testing.T) {
	data := strings.Repeat("some text ", 1000)
	for strength := byte(1); strength <= 3; strength++ {
		b := sealed(t, strength, "hugo", data)
		a, err := NewAES(strength, bytes.NewReader(b))
		if err != nil || !a.Opens([]byte("hugo")) || a.Opens([]byte("paul")) {
			t.Errorf("strength %d: the password is not told, %v", strength, err)
		}
		if got, err := opened(strength, "hugo", b); got != data || err != nil {
			t.Errorf("strength %d: got %.20q, %v", strength, got, err)
		}
		b[len(b)/2] ^= 1
		if _, err := opened(strength, "hugo", b); !errors.Is(err, ErrMAC) {
			t.Errorf("strength %d: damage is %v, want %v", strength, err, ErrMAC)
		}
		if _, err := opened(strength, "hugo", b[:len(b)-1]); err == nil {
			t.Errorf("strength %d: an end that is cut off is no error", strength)
		}
	}
	for _, strength := range []byte{0, 4, 255} {
		if _, err := NewAES(strength, bytes.NewReader(make([]byte, 100))); err == nil {
			t.Errorf("strength %d is none", strength)
		}
	}
}

// What other programs have encrypted is in the tests of package archive.
func TestClassicIsItsOwnReverse(t *testing.T) {
	data := []byte("\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x36hello")
	e := NewClassic([]byte("secret"))
	e.Encrypt(data)
	c := NewClassic([]byte("secret"))
	if !c.Open([ClassicHead]byte(data), 0x36) {
		t.Error("the password does not open it")
	}
	got, err := io.ReadAll(c.Reader(bytes.NewReader(data[ClassicHead:])))
	if string(got) != "hello" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	wrong := 0
	for i := range 1000 {
		c := NewClassic([]byte(strings.Repeat("x", i)))
		if c.Open([ClassicHead]byte(data), 0x36) {
			wrong++
		}
	}
	if wrong > 20 {
		t.Errorf("%d of 1000 wrong passwords open it, want about 4", wrong)
	}
}

// What is decrypted is as long as what there was, and nothing but the right code ends it well.
func FuzzAES(f *testing.F) {
	f.Add(byte(3), "hugo", sealed(f, 3, "hugo", "some text"))
	f.Add(byte(1), "", []byte("short"))
	f.Fuzz(func(t *testing.T, strength byte, password string, b []byte) {
		out, err := opened(strength, password, b)
		if len(out) > len(b) || err == nil && len(out)+macLen > len(b) {
			t.Errorf("%d bytes out of %d, %v", len(out), len(b), err)
		}
	})
}

func FuzzClassic(f *testing.F) {
	f.Add("secret", []byte("some text"))
	f.Fuzz(func(t *testing.T, password string, b []byte) {
		e, d := NewClassic([]byte(password)), NewClassic([]byte(password))
		data := bytes.Clone(b)
		e.Encrypt(data)
		if d.Decrypt(data); !bytes.Equal(data, b) || e != d {
			t.Errorf("%q comes back as %q", b, data)
		}
	})
}

// BenchmarkPasswords is what one wrong password costs.
func BenchmarkPasswords(b *testing.B) {
	a, err := NewAES(3, bytes.NewReader(make([]byte, 100)))
	if err != nil {
		b.Fatal(err)
	}
	b.Run("aes", func(b *testing.B) {
		for b.Loop() {
			a.Opens([]byte("wrong"))
		}
	})
	b.Run("classic", func(b *testing.B) {
		for b.Loop() {
			c := NewClassic([]byte("wrong"))
			c.Open([ClassicHead]byte{}, 1)
		}
	})
}
