package worker

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"github.com/landlock-lsm/go-landlock/landlock"
	llsys "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

const (
	// programMemory is what a worker needs besides what expanders allocate: what it has read of
	// the program itself, which other processes share.
	programMemory = 32 << 20
	// maxFiles is how many descriptors it may have.
	maxFiles = 64
	// maxThreads is how many threads are made before memory is limited, because the stack of each
	// counts, used or not.
	maxThreads = 8
)

// confine gives up all that a worker does not need. What the kernel does not know is told as
// missing; limits it must know.
func confine(s settings) (ready, error) {
	var r ready
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := limit(s); err != nil {
		return r, fmt.Errorf("limit worker: %w", err)
	}
	r.Confined = append(r.Confined, "limits")
	for _, m := range []struct {
		name  string
		apply func() (string, error)
	}{{"Landlock", restrictFiles}, {"seccomp", restrictCalls}} {
		what, err := m.apply()
		if err != nil {
			r.Missing = append(r.Missing, fmt.Sprintf("%s: %v", m.name, err))
		} else {
			r.Confined = append(r.Confined, what)
		}
	}
	return r, nil
}

// limit sets the limits of the process. That of memory is of what it allocates: the address space
// is no measure for a Go program, and what is reserved and not used does not count.
func limit(s settings) error {
	cpu := uint64(s.CPU / time.Second)
	for _, l := range []struct {
		what  int
		limit uint64
	}{
		{unix.RLIMIT_CORE, 0},
		{unix.RLIMIT_NOFILE, maxFiles},
		{unix.RLIMIT_FSIZE, uint64(s.FileSize)},
		{unix.RLIMIT_CPU, cpu},
	} {
		if err := lower(l.what, l.limit); err != nil {
			return err
		}
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("dumpable: %w", err)
	}
	heap := s.Memory - programMemory
	debug.SetMemoryLimit(heap * 2 / 3)
	makeThreads(maxThreads)
	used, resident, err := dataSize()
	if err != nil {
		return err
	}
	return lower(unix.RLIMIT_DATA, uint64(used-resident+heap))
}

// lower sets a limit for good, unless it is lower already.
func lower(what int, limit uint64) error {
	var now unix.Rlimit
	if err := unix.Getrlimit(what, &now); err != nil {
		return fmt.Errorf("rlimit %d: %w", what, err)
	}
	limit = min(limit, now.Max)
	if err := unix.Setrlimit(what, &unix.Rlimit{Cur: limit, Max: limit}); err != nil {
		return fmt.Errorf("rlimit %d: %w", what, err)
	}
	return nil
}

// makeThreads has the runtime make n threads, which it keeps.
func makeThreads(n int) {
	var all sync.WaitGroup
	meet := make(chan struct{})
	for range n {
		all.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			<-meet
		})
	}
	close(meet)
	all.Wait()
}

// dataSize is how many bytes of private memory the process has, and how many of them it uses.
func dataSize() (data, resident int64, err error) {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) != 3 || f[2] != "kB" {
			continue
		}
		n, err := strconv.ParseInt(f[1], 10, 64)
		if err != nil {
			return 0, 0, err
		}
		switch f[0] {
		case "VmData:":
			data = n << 10
		case "RssAnon:":
			resident = n << 10
		}
	}
	if data == 0 {
		return 0, 0, fmt.Errorf("/proc/self/status does not tell VmData")
	}
	return data, resident, nil
}

// restrictFiles takes all files, connections and other processes away that can be named.
func restrictFiles() (string, error) {
	version, err := llsys.LandlockGetABIVersion()
	if err != nil {
		return "", err
	}
	if err := landlock.V7.BestEffort().Restrict(); err != nil {
		return "", err
	}
	return fmt.Sprintf("Landlock %d", version), nil
}

// allowed are the system calls of a program that computes, reads and writes descriptors it has, and
// starts threads. Not all architectures have all.
var allowed = []string{
	"read", "write", "pread64", "pwrite64", "readv", "writev", "lseek", "close", "fcntl", "fstat", "ftruncate", "fallocate",
	"sendmsg", "recvmsg", "sendto", "recvfrom", "getsockopt",
	"epoll_wait", "epoll_pwait", "epoll_pwait2", "epoll_ctl", "ppoll", "poll",
	"munmap", "mremap", "madvise", "mincore", "brk", "mlock", "membarrier",
	"futex", "nanosleep", "clock_nanosleep", "clock_gettime", "clock_getres", "gettimeofday", "sched_yield", "sched_getaffinity",
	"rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall", "getpid", "gettid", "getrusage",
	"getrandom", "set_robust_list", "rseq", "exit", "exit_group",
}

// Flags of system calls that decide whether they are allowed.
const (
	protExec    = unix.PROT_EXEC
	cloneThread = unix.CLONE_THREAD
)

// restrictCalls allows no other system calls than a worker needs: no socket, no file, no program,
// no signal but to itself. clone3, whose flags a filter cannot see, is said not to exist, so that
// clone is used.
func restrictCalls() (string, error) {
	if !seccomp.Supported() {
		return "", fmt.Errorf("the kernel does not have it")
	}
	info, err := arch.GetInfo("")
	if err != nil {
		return "", err
	}
	var names []string
	for _, n := range allowed {
		if _, ok := info.SyscallNames[n]; ok {
			names = append(names, n)
		}
	}
	when := func(name string, arg uint32, op seccomp.Operation, value uint64) seccomp.NameWithConditions {
		return seccomp.NameWithConditions{Name: name, Conditions: seccomp.ArgumentConditions{{Argument: arg, Operation: op, Value: value}}}
	}
	err = seccomp.LoadFilter(seccomp.Filter{NoNewPrivs: true, Flag: seccomp.FilterFlagTSync, Policy: seccomp.Policy{
		DefaultAction: seccomp.ActionErrno,
		Syscalls: []seccomp.SyscallGroup{
			{Names: names, Action: seccomp.ActionAllow},
			{Names: []string{"clone3"}, Action: seccomp.Action(unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS))},
			// A call whose condition does not hold is compared to the calls behind it by its
			// argument instead of its number (go-seccomp-bpf 1.6.0): clone, for which that could
			// come to something, is the last of all.
			{Action: seccomp.ActionAllow, NamesWithCondtions: []seccomp.NameWithConditions{
				when("mmap", 2, seccomp.BitsNotSet, protExec),
				when("mprotect", 2, seccomp.BitsNotSet, protExec),
				when("tgkill", 0, seccomp.Equal, uint64(os.Getpid())),
				when("prctl", 0, seccomp.Equal, unix.PR_SET_VMA),
				when("clone", 0, seccomp.BitsSet, cloneThread),
			}},
		},
	}})
	if err != nil {
		return "", err
	}
	return "seccomp", nil
}
