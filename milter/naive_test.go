package milter

import (
	"bufio"
	"fmt"
	"net"
	"net/textproto"
	"slices"
	"strings"
	"testing"

	lib "github.com/emersion/go-milter"
)

// A naive is a filter written as the library's documentation suggests. It is here to show
// what this package is for: the same client leads it astray.
type naive struct {
	lib.NoOpMilter
	log    *[]string
	client string
	sender string
	rcpts  []string
	fields []string
}

func (n *naive) Connect(host, _ string, _ uint16, _ net.IP, _ *lib.Modifier) (lib.Response, error) {
	n.client = host
	return lib.RespContinue, nil
}

func (n *naive) MailFrom(from string, _ *lib.Modifier) (lib.Response, error) {
	n.sender, n.rcpts = from, nil
	return lib.RespContinue, nil
}

func (n *naive) RcptTo(to string, _ *lib.Modifier) (lib.Response, error) {
	if strings.HasPrefix(to, "refused@") {
		return lib.RespReject, nil
	}
	n.rcpts = append(n.rcpts, to)
	return lib.RespContinue, nil
}

func (n *naive) Headers(h textproto.MIMEHeader, _ *lib.Modifier) (lib.Response, error) {
	n.fields = nil
	for name := range h {
		n.fields = append(n.fields, name)
	}
	slices.Sort(n.fields)
	return lib.RespContinue, nil
}

func (n *naive) Body(m *lib.Modifier) (lib.Response, error) {
	*n.log = append(*n.log, fmt.Sprintf("client=%s sender=%s rcpts=%v fields=%v queue_id=%s", n.client, n.sender, n.rcpts, n.fields, m.Macros["i"]))
	return lib.RespAccept, nil
}

// naiveMTA connects to a naive filter that writes what it believes to the log.
func naiveMTA(t *testing.T, log *[]string) *mta {
	l := newPipeListener()
	srv := &lib.Server{NewMilter: func() lib.Milter { return &naive{log: log} }, Actions: wantActions}
	done := make(chan error)
	go func() { done <- srv.Serve(l) }()
	c := l.dial(t)
	t.Cleanup(func() {
		c.Close()
		l.Close()
		<-done
	})
	return &mta{t: t, c: c, r: bufio.NewReader(c), sendmail: true}
}

// script is Sendmail's side of two messages in a session. A recipient of the second is
// refused by the filter where it can be.
func script(m *mta) {
	m.hello()
	m.deliver(first)
	m.send(rawFrame('D', "Mi\x00Q2\x00"))
	m.ask('M', "<b@two.example>")
	m.ask('R', "<r3@x.example>")
	m.send(frame('R', "<refused@x.example>"))
	m.read()
	m.data(mail{"Q2", "", nil, []string{"X-Other: second"}, "two\r\n"})
	m.finish()
}

// TestNaiveUseOfTheLibraryMixesMessages fails if the library has learned to keep messages
// apart. Then conn and session can be made simpler.
func TestNaiveUseOfTheLibraryMixesMessages(t *testing.T) {
	var log []string
	script(naiveMTA(t, &log))
	want := []string{
		// Sendmail tells the queue id with MAIL; the macros of a later stage have replaced it.
		"client=client.example sender=a@one.example rcpts=[r1@x.example r2@x.example] fields=[From Subject] queue_id=Q1",
		// The client is forgotten because the first message has ended, sender and recipient
		// because another recipient was refused, and fields of the first message are seen.
		"client= sender= rcpts=[] fields=[From Subject X-Other] queue_id=Q2",
	}
	if !slices.Equal(log, want) {
		t.Errorf("got  %q\nwant %q", log, want)
	}
}

func TestTheSameScriptDoesNotMixOurMessages(t *testing.T) {
	j := accept()
	m := start(t, Config{}, j).mta()
	m.sendmail = true
	script(m)
	got := j.messages()
	if len(got) != 2 {
		t.Fatalf("%d messages were judged, want 2", len(got))
	}
	wantMail(t, got[0], first)
	e := got[1].env
	if e.ClientName != "client.example" || e.Sender != "b@two.example" || len(e.Recipients) != 2 || e.QueueID != "Q2" {
		t.Errorf("the envelope is %+v", e)
	}
	if want := "X-Other: second\r\n\r\ntwo\r\n"; got[1].raw != want {
		t.Errorf("the message is %q, want %q", got[1].raw, want)
	}
}
