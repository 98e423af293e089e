package milter

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"rastel/policy"
	"rastel/sanitize/eml"
)

// slow is a judge that takes d, or until ctx ends.
func slow(d time.Duration, v *policy.Verdict) JudgeFunc {
	return func(ctx context.Context, _ *eml.Envelope, s *eml.Spool) (*policy.Verdict, error) {
		select {
		case <-time.After(d):
			return v, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func TestTellsProgressBeforeTheFirstEditOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		edit := func(m *eml.Message) []eml.Edit {
			return []eml.Edit{header(m, 0, 0, "X-A: b\r\n"), body(m, 0, -1, strings.Repeat("new\r\n", 50_000))}
		}
		patch := patching(t, edit, io.Discard)
		m := start(t, Config{}, JudgeFunc(func(ctx context.Context, env *eml.Envelope, s *eml.Spool) (*policy.Verdict, error) {
			v, err := patch.Judge(ctx, env, s)
			time.Sleep(70 * time.Second) // the time of the bubble
			return v, err
		})).mta()
		m.hello()
		m.envelope(first)
		m.data(first)
		begin := time.Now()
		m.send(frame('E'))
		var got strings.Builder
		for {
			m.c.SetReadDeadline(time.Now().Add(time.Hour))
			p, err := m.readFrame()
			if err != nil {
				t.Fatal(err)
			}
			if p.code == 'p' {
				if at := time.Since(begin) % defaultProgressInterval; at != 0 {
					t.Errorf("progress came %v off the interval", at)
				}
			}
			got.WriteByte(p.code)
			if p.code == 'a' {
				break
			}
		}
		if want := "pppibbbba"; got.String() != want {
			t.Errorf("got %q, want %q", &got, want)
		}
	})
}

func TestNoProgressBeforeTheEndOfTheMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t, Config{}, slow(time.Second, &policy.Verdict{Action: policy.Accept})).mta()
		m.hello()
		m.envelope(first)
		m.data(first)
		time.Sleep(100 * time.Second) // Sendmail fails a filter that tells progress now
		m.send(frame('E'))
		if p := m.expect('a'); p.data != "" {
			t.Errorf("got %q", p.data)
		}
	})
}

func TestNoVerdictInTimeIsATempfail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		released := make(chan struct{})
		deaf := JudgeFunc(func(ctx context.Context, _ *eml.Envelope, s *eml.Spool) (*policy.Verdict, error) {
			<-released // hears of nothing
			return &policy.Verdict{Action: policy.Accept}, nil
		})
		for name, j := range map[string]Judge{"one that heeds its context": slow(time.Hour, nil), "a deaf one": deaf} {
			m := start(t, Config{}, j).mta()
			m.hello()
			m.envelope(first)
			m.data(first)
			begin := time.Now()
			m.send(frame('E'))
			var p packet
			for p.code = 'p'; p.code == 'p'; {
				m.c.SetReadDeadline(time.Now().Add(time.Hour))
				var err error
				if p, err = m.readFrame(); err != nil {
					t.Fatal(err)
				}
			}
			if took := time.Since(begin); p.code != 'y' || !strings.HasPrefix(p.data, "451 ") || took != defaultVerdictTimeout {
				t.Errorf("%s: got %v after %v, want 451 after %v", name, p, took, defaultVerdictTimeout)
			}
		}
		close(released)
	})
}

func TestAVerdictAfterItsTimeDoesNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		late := JudgeFunc(func(ctx context.Context, _ *eml.Envelope, s *eml.Spool) (*policy.Verdict, error) {
			<-ctx.Done()
			return &policy.Verdict{Action: policy.Accept}, nil
		})
		m := start(t, Config{VerdictTimeout: 3 * time.Second}, late).mta()
		m.hello()
		if _, final := m.deliver(first); final.code != 'y' || !strings.HasPrefix(final.data, "451 ") {
			t.Errorf("got %v, want 451", final)
		}
	})
}

func TestDeadlines(t *testing.T) {
	for _, tt := range []struct {
		name string
		send func(*mta)
		want time.Duration
	}{
		{"silent from the start", func(*mta) {}, defaultIdleTimeout},
		{"silent between commands", func(m *mta) { m.hello() }, defaultIdleTimeout},
		{"silent within an envelope", func(m *mta) { m.hello(); m.envelope(first) }, defaultIdleTimeout},
		{"stops within the length", func(m *mta) { m.hello(); m.send([]byte{0, 0}) }, defaultFrameTimeout},
		{"stops within a command", func(m *mta) { m.hello(); m.send([]byte{0, 0, 0, 9, 'M', '<'}) }, defaultFrameTimeout},
		{"stops within a body chunk", func(m *mta) {
			m.hello()
			m.envelope(first)
			m.send([]byte{0, 0, 0xff, 0, 'B', 'x'})
		}, defaultFrameTimeout},
		{"silent within a message", func(m *mta) { m.hello(); m.envelope(first); m.data(first) }, defaultVerdictTimeout},
	} {
		synctest.Test(t, func(t *testing.T) {
			m := start(t, Config{}, accept()).mta()
			tt.send(m)
			begin := time.Now()
			m.c.SetReadDeadline(time.Now().Add(24 * time.Hour))
			_, err := m.readFrame()
			if took := time.Since(begin); !errors.Is(err, io.EOF) || took != tt.want {
				t.Errorf("%s: got %v after %v, want the end after %v", tt.name, err, took, tt.want)
			}
		})
	}
}

func TestABytewiseMTADoesNotHoldAFrameOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t, Config{}, accept()).mta()
		m.hello()
		begin := time.Now()
		for _, b := range frame('M', "<"+strings.Repeat("x", 100)+">") {
			time.Sleep(5 * time.Second)
			if m.write([]byte{b}) != nil {
				break
			}
		}
		if took := time.Since(begin); took > defaultFrameTimeout+10*time.Second {
			t.Errorf("a frame was open for %v, want at most %v", took, defaultFrameTimeout)
		}
	})
}

func TestAnMTAThatReadsNothingIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		edit := func(m *eml.Message) []eml.Edit {
			return []eml.Edit{body(m, 0, -1, strings.Repeat("new\r\n", 50_000))}
		}
		r := start(t, Config{}, patching(t, edit, io.Discard))
		m := r.mta()
		m.hello()
		m.envelope(first)
		m.data(first)
		m.send(frame('E'))
		time.Sleep(2 * defaultWriteTimeout)
		synctest.Wait()
		if n := len(r.srv.slots); n != 0 {
			t.Errorf("%d sessions are left after the write timeout", n)
		}
	})
}

// A failingListener fails with EMFILE for a while, then blocks.
type failingListener struct {
	*pipeListener
	fails  int32
	called atomic.Int32
}

func (l *failingListener) Accept() (net.Conn, error) {
	if l.called.Add(1) <= l.fails {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: syscall.EMFILE}
	}
	return l.pipeListener.Accept()
}

func TestErrorsOfAcceptAreWaitedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &failingListener{pipeListener: newPipeListener(), fails: 20}
		r := serve(t, Options{Judge: accept(), Listeners: []net.Listener{l}})
		r.dial = func() net.Conn { return l.dial(t) }
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if n := l.called.Load(); n > 12 {
			t.Errorf("Accept was called %d times in 3s without files, want few", n)
		}
		m := r.mta() // waits until the errors are over
		m.hello()
		if _, final := m.deliver(first); final.code != 'a' {
			t.Errorf("got %v, want accept", final)
		}
	})
}

func TestShutdownDoesNotWaitForAcceptToRecover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &failingListener{pipeListener: newPipeListener(), fails: 1 << 30}
		r := serve(t, Options{Judge: accept(), Listeners: []net.Listener{l}})
		time.Sleep(time.Minute)
		begin := time.Now()
		if err := r.srv.Shutdown(t.Context()); err != nil || time.Since(begin) > 0 {
			t.Errorf("Shutdown: %v after %v", err, time.Since(begin))
		}
	})
}

func TestConnectionsBeyondTheLimitWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, Config{MaxConnections: 2}, accept())
		a, b := r.mta(), r.mta()
		a.hello()
		b.hello()
		c := r.mta()
		served := make(chan struct{})
		go func() {
			defer close(served)
			if err := c.write(optNeg(6, offerActions, offerProtocol)); err == nil {
				c.readFrame()
			}
		}()
		synctest.Wait()
		select {
		case <-served:
			t.Fatal("the third connection is served beside two others")
		default:
		}
		if !strings.Contains(r.log.String(), "limit") {
			t.Errorf("the log does not tell: %s", r.log)
		}
		a.send(frame('Q'))
		<-served
	})
}

func TestShutdownFinishesMessagesInWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, Config{}, slow(5*time.Second, &policy.Verdict{Action: policy.Accept}))
		idle, inEnvelope, judged := r.mta(), r.mta(), r.mta()
		for _, m := range []*mta{idle, inEnvelope, judged} {
			m.hello()
		}
		inEnvelope.envelope(first)
		judged.envelope(second)
		judged.data(second)
		judged.send(frame('E'))
		synctest.Wait()

		done := make(chan error, 1)
		begin := time.Now()
		go func() { done <- r.srv.Shutdown(t.Context()) }()
		synctest.Wait()
		idle.closed("an idle session")
		if _, final := judged.outcome(); final.code != 'a' {
			t.Errorf("a message at its end got %v, want accept", final)
		}
		judged.closed("a session after its message")
		inEnvelope.data(first)
		inEnvelope.send(frame('E'))
		if _, final := inEnvelope.outcome(); final.code != 'a' {
			t.Errorf("a message that was begun got %v, want accept", final)
		}
		if err := <-done; err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if took := time.Since(begin); took > time.Minute {
			t.Errorf("Shutdown took %v", took)
		}
	})
}

func TestShutdownCutsOffWhatTakesTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cancelled atomic.Bool
		r := start(t, Config{}, JudgeFunc(func(ctx context.Context, _ *eml.Envelope, _ *eml.Spool) (*policy.Verdict, error) {
			<-ctx.Done()
			cancelled.Store(true)
			return nil, ctx.Err()
		}))
		waiting, receiving := r.mta(), r.mta()
		for _, m := range []*mta{waiting, receiving} {
			m.hello()
			m.envelope(first)
			m.data(first)
		}
		waiting.send(frame('E'))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		begin := time.Now()
		err := r.srv.Shutdown(ctx)
		if took := time.Since(begin); !errors.Is(err, context.DeadlineExceeded) || took != 10*time.Second {
			t.Errorf("Shutdown: got %v after %v, want the error of ctx after 10s", err, took)
		}
		if !cancelled.Load() {
			t.Error("the judge was not told")
		}
		if err := r.srv.Shutdown(t.Context()); err != nil {
			t.Errorf("a second Shutdown: %v", err)
		}
	})
}
