package rig

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A Queued is a message in the queue of an MTA.
type Queued struct {
	ID    string
	Queue string // as the MTA calls it: "active", "deferred", "hold", "corrupt", ...
}

// An MTA is a Postfix or a Sendmail.
type MTA interface {
	// SMTP is the address where it takes mail.
	SMTP() string
	// Queue returns the messages that were taken and not handed on, those included that never
	// will be: Postfix's "hold" and "corrupt", Sendmail's "hold" and "lost".
	Queue() ([]Queued, error)
	// Show is what an administrator is shown of the messages that are on hold.
	Show() (string, error)
	// LetGo has a message delivered that is on hold.
	LetGo(id string) error
	// Log is what it logged so far.
	Log() string
	// Stop ends it and removes all that it kept.
	Stop() error
}

// SMTP is the address where it takes mail.
func (p *Postfix) SMTP() string { return p.Addr }

// SMTP is the address where it takes mail.
func (s *Sendmail) SMTP() string { return s.Addr }

// WaitIdle waits until an MTA has handed on all that it can. It returns what is left: messages
// that wait for somebody to let them go, or will never be delivered.
func WaitIdle(m MTA, timeout time.Duration) (left []Queued, err error) {
	err = poll(timeout, nil, func() error {
		if left, err = m.Queue(); err != nil {
			return err
		}
		if i := slices.IndexFunc(left, Queued.moving); i >= 0 {
			return fmt.Errorf("%d messages in the queue, such as %v", len(left), left[i])
		}
		return nil
	})
	return left, err
}

// moving reports whether the MTA will do something about the message.
func (q Queued) moving() bool { return q.Queue != "hold" && q.Queue != "corrupt" && q.Queue != "lost" }

// Queue returns the messages that Postfix has, those included that it will never deliver: in
// "hold" until someone lets them go, in "corrupt" for ever.
func (p *Postfix) Queue() ([]Queued, error) {
	var q []Queued
	for _, name := range []string{"maildrop", "incoming", "active", "deferred", "hold", "corrupt"} {
		err := walkFiles(filepath.Join(p.queueDir(), name), func(file string) {
			q = append(q, Queued{ID: file, Queue: name})
		})
		if err != nil {
			return nil, err
		}
	}
	return q, nil
}

// sendmailQueues are the queues, by the first letters of the file with the envelope.
var sendmailQueues = map[string]string{"qf": "active", "tf": "active", "hf": "hold", "Qf": "lost"}

// Queue returns the messages that Sendmail has.
func (s *Sendmail) Queue() ([]Queued, error) {
	var q []Queued
	err := walkFiles(s.queueDir(), func(file string) {
		if len(file) < 2 {
			return
		}
		if name, ok := sendmailQueues[file[:2]]; ok {
			q = append(q, Queued{ID: file[2:], Queue: name})
		}
	})
	return q, err
}

// walkFiles calls f for the name of each file below dir. Files may go away meanwhile.
func walkFiles(dir string, f func(name string)) error {
	return filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && d.Type().IsRegular() {
			f(d.Name())
		}
		return err
	})
}

func host(addr string) string { h, _, _ := net.SplitHostPort(addr); return h }
func port(addr string) string { return addr[strings.LastIndexByte(addr, ':')+1:] }
