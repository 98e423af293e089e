package eml

import (
	"bytes"
	"io"
	"runtime"
	"testing"
)

func TestViewIsTheContentInMemoryAndInAFile(t *testing.T) {
	for _, memory := range []int64{1, SpoolMemory} {
		s := NewSpool(SpoolOptions{Memory: memory})
		body := bytes.Repeat([]byte("0123456789abcdef\r\n"), 2000)
		_, err := s.Write(append([]byte("Content-Type: text/plain\r\nContent-Transfer-Encoding: binary\r\n\r\n"), body...))
		if err != nil {
			t.Fatal(err)
		}
		s.CloseWrite(nil)
		m, _, err := Parse(t.Context(), &Envelope{}, s, Limits{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		b, release, err := m.Root.View()
		if err != nil || !bytes.Equal(b, body) {
			t.Errorf("memory %d: got %d bytes, %v; want %d", memory, len(b), err, len(body))
		}
		release()
		m.Close()
		s.Close()
	}
}

func TestViewOfAFileTakesNoMemory(t *testing.T) {
	s := NewSpool(SpoolOptions{})
	defer s.Close()
	const size = 32 << 20
	if _, err := io.CopyN(s, zeros{}, size); err != nil {
		t.Fatal(err)
	}
	s.CloseWrite(nil)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	b, release, err := s.View()
	if err != nil || len(b) != size {
		t.Fatalf("got %d bytes, %v", len(b), err)
	}
	defer release()
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Errorf("a view of %d bytes took %d", size, n)
	}
	if _, _, err := s.view(0, size+1); err == nil {
		t.Error("a view beyond the end is no error")
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
