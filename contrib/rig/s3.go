package rig

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// What an S3 asks for.
const (
	S3Bucket = "held"
	S3Access = "rastel"
	S3Secret = "not-a-secret-but-long-enough"
)

// An S3 is a versitygw with one bucket.
type S3 struct {
	Addr string // host:port, without TLS

	dir  string
	proc *process
}

// StartS3 starts a server and waits until it answers. The caller stops it.
func StartS3() (_ *S3, err error) {
	if err := require(NeedS3); err != nil {
		return nil, err
	}
	s := &S3{}
	if s.dir, err = newDir("s3"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(s.dir)
		}
	}()
	if err := errors.Join(os.MkdirAll(filepath.Join(s.dir, "root", S3Bucket), 0o700), os.Mkdir(filepath.Join(s.dir, "meta"), 0o700)); err != nil {
		return nil, err
	}
	if s.Addr, err = FreeAddr(); err != nil {
		return nil, err
	}
	return s, s.Start()
}

// Start starts a server that was killed, at the address that it had, and waits until it answers.
func (s *S3) Start() (err error) {
	cmd := exec.Command(S3Program(), "--port", s.Addr, "--access", S3Access, "--secret", S3Secret, "--quiet",
		"posix", "--sidecar", filepath.Join(s.dir, "meta"), filepath.Join(s.dir, "root"))
	log := filepath.Join(s.dir, "log")
	if s.proc, err = startProcess(cmd, log); err != nil {
		return err
	}
	dial := func() error {
		c, err := net.Dial("tcp", s.Addr)
		if err != nil {
			return err
		}
		return c.Close()
	}
	if err := poll(startTimeout, s.proc.ended, dial); err != nil {
		s.proc.kill()
		return fmt.Errorf("versitygw: %w\n%s", err, logTail(log))
	}
	return nil
}

// Kill ends it as a crash would.
func (s *S3) Kill() { s.proc.kill() }

// Stop ends it and removes all that it kept.
func (s *S3) Stop() error {
	if !s.proc.killed {
		s.proc.kill()
	}
	return os.RemoveAll(s.dir)
}

// S3Program finds versitygw; empty: there is none.
func S3Program() string {
	places := []string{os.Getenv("RASTEL_VERSITYGW"), "versitygw"}
	if out, err := exec.Command("go", "env", "GOPATH").Output(); err == nil {
		places = append(places, filepath.Join(strings.TrimSpace(string(out)), "bin", "versitygw"))
	}
	for _, p := range places {
		if name, err := exec.LookPath(p); p != "" && err == nil {
			return name
		}
	}
	return ""
}

func missingS3() []string {
	if S3Program() == "" {
		return []string{"versitygw: contrib/test -install"}
	}
	return nil
}
