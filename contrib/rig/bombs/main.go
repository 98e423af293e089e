// Command bombs has rastel examine attachments that cost much to open, and tells for each what it
// decided, how long it took, and how much memory and temporary disk that needed: of the process
// itself, and of the worker that needed most. contrib/bombs builds what it needs.
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"
)

// What a bomb may cost.
const (
	maxTime   = 5 * time.Second
	maxMain   = 128 << 20
	maxWorker = 256 << 20
	maxDisk   = 512 << 20
)

func main() {
	rastel := flag.String("rastel", "", "the rastel `program`")
	cases := flag.String("cases", "testdata/cases", "the `directory` of cases, of which those of archives are measured too")
	flag.Parse()
	over, err := run(*rastel, *cases)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bombs:", err)
		os.Exit(2)
	}
	if over {
		os.Exit(1)
	}
}

func run(rastel, cases string) (over bool, err error) {
	dir, err := os.MkdirTemp("", "bombs")
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	m := &meter{rastel: rastel, dir: dir, spool: filepath.Join(dir, "spool"), config: filepath.Join(dir, "rastel.yaml")}
	if err := os.Mkdir(m.spool, 0o700); err != nil {
		return false, err
	}
	config := fmt.Sprintf("state_dir: %q\nspool_dir: %q\nworkers: 2\n", filepath.Join(dir, "state"), m.spool)
	if err := os.WriteFile(m.config, []byte(config), 0o600); err != nil {
		return false, err
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "bomb\tpacked\tverdict\tfinding\ttime\tmain\tworker\tdisk\t")
	show := func(name string, message []byte, packed int) error {
		c, err := m.measure(message)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		mark := ""
		if c.over() {
			over, mark = true, "OVER"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%.1f s\t%s\t%s\t%s\t%s\n", name, megabytes(int64(packed)), c.action, c.finding,
			c.took.Seconds(), megabytes(c.main), megabytes(c.worker), megabytes(c.disk), mark)
		return w.Flush()
	}
	for _, b := range bombs() {
		content := b.make()
		if err := show(b.name, message(content), len(content)); err != nil {
			return false, err
		}
	}
	names, err := filepath.Glob(filepath.Join(cases, "a[0-9]*.case"))
	if err != nil || len(names) == 0 {
		return false, fmt.Errorf("no cases in %s", cases)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			return false, err
		}
		_, msg, ok := bytes.Cut(b, []byte("\r\n\r\n"))
		if !ok {
			_, msg, _ = bytes.Cut(b, []byte("\n\n"))
		}
		if err := show(filepath.Base(name), msg, len(msg)); err != nil {
			return false, err
		}
	}
	fmt.Fprintf(w, "may be at most\t\t\t\t%.0f s\t%s\t%s\t%s\n", maxTime.Seconds(), megabytes(maxMain), megabytes(maxWorker), megabytes(maxDisk))
	return over, w.Flush()
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/(1<<20)) }

// message is a mail with that attachment, whose name says nothing.
func message(content []byte) []byte {
	b := []byte("From: a@example.org\r\nTo: b@example.net\r\nSubject: files\r\nMIME-Version: 1.0\r\n" +
		"Content-Type: application/octet-stream; name=attachment\r\nContent-Transfer-Encoding: base64\r\n\r\n")
	const line = 57
	for len(content) > 0 {
		n := min(line, len(content))
		b = base64.StdEncoding.AppendEncode(b, content[:n])
		b = append(b, "\r\n"...)
		content = content[n:]
	}
	return b
}

// A meter runs rastel on one message at a time.
type meter struct{ rastel, dir, spool, config string }

// A cost is what one message came to, and what that needed.
type cost struct {
	action, finding    string
	took               time.Duration
	main, worker, disk int64
}

// over reports whether it was too much, or the bomb passed.
func (c *cost) over() bool {
	return c.took > maxTime || c.main > maxMain || c.worker > maxWorker || c.disk > maxDisk
}

func (m *meter) measure(msg []byte) (*cost, error) {
	file := filepath.Join(m.dir, "message")
	if err := os.WriteFile(file, msg, 0o600); err != nil {
		return nil, err
	}
	cmd := exec.Command(m.rastel, "scan", "-config", m.config, "-json", file)
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &log
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	w := watch(cmd.Process.Pid, m.spool)
	err := cmd.Wait()
	c := w.stop()
	c.took = time.Since(start)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return nil, err
	}
	var r struct {
		Action   string
		Findings []struct{ Check string }
	}
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		return nil, fmt.Errorf("%w: %.300s %.300s", err, out.Bytes(), log.Bytes())
	}
	c.action = r.Action
	seen := map[string]bool{}
	for _, f := range r.Findings {
		area, _, _ := strings.Cut(f.Check, "/")
		if (area == "archive" || area == "scan") && !seen[f.Check] {
			seen[f.Check] = true
			c.finding = strings.TrimPrefix(c.finding+" "+f.Check, " ")
		}
	}
	return c, nil
}
