package eml

import (
	"bytes"
	"errors"
	"io"
	"os"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func TestSpoolIsTheSameInMemoryAndInAFile(t *testing.T) {
	want := bytes.Repeat([]byte("0123456789"), 1000)
	for _, memory := range []int64{1, 5000, 1 << 20} {
		s := NewSpool(SpoolOptions{Memory: memory, Dir: t.TempDir()})
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				got, err := io.ReadAll(s.NewReader())
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("memory %d: read %d bytes, %v", memory, len(got), err)
				}
			})
		}
		for i := 0; i < len(want); i += 100 {
			if _, err := s.Write(want[i : i+100]); err != nil {
				t.Fatal(err)
			}
		}
		s.CloseWrite(nil)
		wg.Wait()
		f, err := s.File()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(f); err != nil || !bytes.Equal(got, want) {
			t.Errorf("memory %d: the descriptor gives %d bytes, %v", memory, len(got), err)
		}
		f.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestSpoolLeavesNoFileBehind(t *testing.T) {
	dir := t.TempDir()
	s := NewSpool(SpoolOptions{Memory: 1, Dir: dir})
	s.Write([]byte("hello"))
	defer s.Close()
	if list, err := os.ReadDir(dir); err != nil || len(list) > 0 {
		t.Errorf("the directory lists %v, %v", list, err)
	}
}

func TestSpoolTakesNoMoreThanItsMax(t *testing.T) {
	s := NewSpool(SpoolOptions{Max: 10})
	defer s.Close()
	if _, err := s.Write(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write([]byte("x")); !errors.Is(err, ErrSpoolFull) {
		t.Errorf("got %v, want ErrSpoolFull", err)
	}
	if s.Size() != 10 {
		t.Errorf("size is %d, want 10", s.Size())
	}
}

func TestReadersOfASpoolGetTheWritersError(t *testing.T) {
	gone := errors.New("gone")
	s := NewSpool(SpoolOptions{})
	s.Write([]byte("abc"))
	s.CloseWrite(gone)
	got, err := io.ReadAll(s.NewReader())
	if string(got) != "abc" || !errors.Is(err, gone) {
		t.Errorf("got %q, %v; want abc, %v", got, err, gone)
	}
	var b [5]byte
	if n, err := s.ReadAt(b[:], 1); n != 2 || !errors.Is(err, gone) {
		t.Errorf("ReadAt: got %d, %v; want 2, %v", n, err, gone)
	}
	s.Close()
	if _, err := s.ReadAt(b[:], 0); !errors.Is(err, os.ErrClosed) {
		t.Errorf("after Close: got %v, want os.ErrClosed", err)
	}
}

// What a pool has no memory for is in its file, and is the same. All that was taken comes back.
func TestSpoolsShareMemoryAndAFile(t *testing.T) {
	pool := NewSpoolPool(t.TempDir(), 100_000)
	opt := SpoolOptions{Dir: t.TempDir(), Pool: pool}
	const many = 60
	for range 3 {
		var wg sync.WaitGroup
		for i := range many {
			wg.Go(func() { wantSpoolKeeps(t, opt, i) })
		}
		wg.Wait()
	}
	if pool.memory != 0 || int64(len(pool.free)) != pool.slots || pool.slots == 0 || pool.slots > many {
		t.Errorf("%d bytes are still taken, %d of %d places are free", pool.memory, len(pool.free), pool.slots)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(pool.file.Fd()), &st); err != nil || st.Blocks > 0 {
		t.Errorf("the file of the pool takes %d blocks when nothing is in it, %v", st.Blocks, err)
	}
}

// wantSpoolKeeps writes up to 2 MB, which is more than a place has, in pieces.
func wantSpoolKeeps(t *testing.T, opt SpoolOptions, i int) {
	want := bytes.Repeat([]byte{byte(i), byte(i >> 8), 7}, 1+i*i*200)
	s := NewSpool(opt)
	defer s.Close()
	var early []byte // what a reader saw while it was written
	for rest := want; len(rest) > 0; {
		n := min(len(rest), 1+i*1000)
		if _, err := s.Write(rest[:n]); err != nil {
			t.Error(err)
			return
		}
		b := make([]byte, n)
		if _, err := s.ReadAt(b, int64(len(want)-len(rest))); err != nil {
			t.Error(err)
		}
		early, rest = append(early, b...), rest[n:]
	}
	s.CloseWrite(nil)
	b, release, err := s.View()
	if err != nil {
		t.Error(err)
		return
	}
	defer release()
	f, err := s.File()
	if err != nil {
		t.Error(err)
		return
	}
	defer f.Close()
	passed, err := io.ReadAll(f)
	if err != nil || !bytes.Equal(b, want) || !bytes.Equal(early, want) || !bytes.Equal(passed, want) {
		t.Errorf("spool %d of %d bytes: the view has %d, early reads %d, the descriptor %d, %v", i, len(want), len(b), len(early), len(passed), err)
	}
}
