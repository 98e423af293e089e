package rig

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"syscall"
)

// Show is what an administrator is shown of the queue, with the messages that are on hold.
func (p *Postfix) Show() (string, error) { return p.tool("postqueue", "-p") }

// LetGo has a message delivered that is on hold.
func (p *Postfix) LetGo(id string) error {
	if _, err := p.tool("postsuper", "-H", id); err != nil {
		return err
	}
	_, err := p.tool("postqueue", "-f")
	return err
}

func (p *Postfix) tool(name string, args ...string) (string, error) {
	path, err := program(name)
	if err != nil {
		return "", err
	}
	return output(exec.Command(path, append([]string{"-c", p.confDir()}, args...)...))
}

// Show is what an administrator is shown of the messages that are on hold.
func (s *Sendmail) Show() (string, error) { return s.tool("-bp", "-qQ") }

// LetGo has a message delivered that is on hold.
func (s *Sendmail) LetGo(id string) error {
	if _, err := s.tool("-Q", "-qQ", "-qI"+id); err != nil {
		return err
	}
	_, err := s.tool("-qI" + id)
	return err
}

// tool runs Sendmail once, on a host with another name as the daemon.
func (s *Sendmail) tool(args ...string) (string, error) {
	args = append([]string{"-c", `hostname mx.test && exec "$@"`, "sh", filepath.Join(SendmailDir(), sendmailDaemon), "-C", filepath.Join(s.dir, "sendmail.cf")}, args...)
	cmd := exec.Command("sh", args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUTS}
	return output(cmd)
}

func output(cmd *exec.Cmd) (string, error) {
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%v: %w: %s", cmd.Args, err, out)
	}
	return string(out), nil
}
