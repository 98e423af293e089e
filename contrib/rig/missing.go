package rig

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

// What this package has needs for, for [Missing].
const (
	NeedPostfix  = "postfix"
	NeedSendmail = "sendmail"
	NeedClamd    = "clamd"
	NeedICAP     = "icap"
	NeedPostgres = "postgres"
	NeedS3       = "s3"
	NeedSamples  = "samples" // no server: what Samples needs
)

// Missing says what is not there for these needs, all of them if none is named, and which
// Debian package has it. Nothing is missing if it is empty.
func Missing(needs ...string) []string {
	var missing []string
	for _, n := range []struct {
		name  string
		check func() []string
	}{
		{NeedPostfix, missingPostfix}, {NeedSendmail, missingSendmail}, {NeedClamd, missingClamd}, {NeedICAP, missingICAP},
		{NeedPostgres, missingPostgres}, {NeedS3, missingS3},
		{NeedSamples, func() []string { return missingPrograms("7zip", "7zz") }},
	} {
		if len(needs) == 0 || slices.Contains(needs, n.name) {
			missing = append(missing, n.check()...)
		}
	}
	slices.Sort(missing)
	return slices.Compact(missing)
}

// require is Missing as an error.
func require(need string) error {
	if m := Missing(need); len(m) > 0 {
		return fmt.Errorf("missing: %q", m)
	}
	return nil
}

func missingPostfix() []string {
	return append(missingRoot(), missingPrograms("postfix", "postfix", "postconf")...)
}

func missingClamd() []string { return missingPrograms("clamav-daemon", "clamd") }

func missingICAP() []string {
	m := append(missingClamd(), missingPrograms("c-icap", "c-icap")...)
	if icapModule() == "" {
		m = append(m, "module virus_scan of c-icap: Debian package libc-icap-mod-virus-scan")
	}
	return m
}

func missingSendmail() []string {
	m := append(missingRoot(), missingPrograms("m4", "m4")...)
	root := SendmailDir()
	for _, f := range []string{sendmailDaemon, sendmailCF} {
		if _, err := os.Stat(filepath.Join(root, f)); err != nil {
			m = append(m, "sendmail in "+root+": Debian packages sendmail-bin and sendmail-cf, unpacked by contrib/test because they exclude postfix")
			break
		}
	}
	return m
}

func missingRoot() []string {
	if os.Geteuid() != 0 {
		return []string{"root: the MTAs change to users of their own"}
	}
	return nil
}

func missingPrograms(pkg string, programs ...string) []string {
	var m []string
	for _, p := range programs {
		if _, err := program(p); err != nil {
			m = append(m, p+": Debian package "+pkg)
		}
	}
	return m
}

// program finds a program, also where users other than root do not look.
func program(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	return exec.LookPath(filepath.Join("/usr/sbin", name))
}
