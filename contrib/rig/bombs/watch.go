package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A watcher looks at a process and its children from time to time, and keeps the most of all.
type watcher struct {
	pid   int
	spool string
	done  chan struct{}
	ended chan *cost
}

// watch begins to look at a process.
func watch(pid int, spool string) *watcher {
	w := &watcher{pid: pid, spool: spool, done: make(chan struct{}), ended: make(chan *cost)}
	go w.run()
	return w
}

// stop ends it and gives what was seen.
func (w *watcher) stop() *cost {
	close(w.done)
	return <-w.ended
}

func (w *watcher) run() {
	c := &cost{}
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-w.done:
			w.ended <- c
			return
		case <-tick.C:
			w.look(c)
		}
	}
}

func (w *watcher) look(c *cost) {
	c.main = max(c.main, peak(w.pid))
	files := map[uint64]int64{} // one file may be open in several processes
	w.open(w.pid, files)
	for _, child := range children(w.pid) {
		c.worker = max(c.worker, peak(child))
		w.open(child, files)
	}
	var disk int64
	for _, n := range files {
		disk += n
	}
	c.disk = max(c.disk, disk)
}

// peak is the most memory that a process has had, in bytes; 0 if it is gone.
func peak(pid int) int64 {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if v, ok := strings.CutPrefix(lines.Text(), "VmHWM:"); ok {
			n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(v), " kB"), 10, 64)
			if err == nil {
				return n << 10
			}
		}
	}
	return 0
}

func children(pid int) (list []int) {
	names, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		return nil
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		for _, f := range strings.Fields(string(b)) {
			if n, err := strconv.Atoi(f); err == nil {
				list = append(list, n)
			}
		}
	}
	return list
}

// open adds the files that a process has in the directory of temporary files, and those that are in
// memory only, by their inode.
func (w *watcher) open(pid int, files map[uint64]int64) {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	list, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range list {
		name := filepath.Join(dir, e.Name())
		to, err := os.Readlink(name)
		if err != nil || !strings.HasPrefix(to, w.spool) && !strings.HasPrefix(to, "/memfd:") {
			continue
		}
		var st syscall.Stat_t
		if syscall.Stat(name, &st) == nil {
			files[st.Ino] = st.Blocks * 512
		}
	}
}
