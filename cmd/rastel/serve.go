package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"rastel/cmd/rastel/api"
	"rastel/milter"
	"rastel/policy"
	"rastel/policy/engine"
	"rastel/policy/exceptions"
	"rastel/policy/hosts"
	"rastel/policy/quarantine"
	"rastel/policy/quarantine/journal"
	"rastel/policy/quarantine/sqlindex"
	"rastel/scanners"
	"rastel/scanners/hashlist"
	"rastel/scanners/virustotal"
)

var serveCommand = command{
	name: "serve", short: "run the filter",
	long: `
Without -config it runs on defaults: the milter on 127.0.0.1:6785, health and
readiness on http://127.0.0.1:6786/readyz, quarantine below the state directory,
clamd at its usual socket if there is one.

SIGHUP reads the policy and hash lists anew, as do changes of their files, and
forgets what engines said of content before (cache in rastel.yaml). SIGTERM ends the
program after the messages in work.

Exit status:
  0  ended by a signal
  1  could not start, or had to give up
  2  wrong arguments, or a configuration or policy that cannot be used`,
	run: runServe,
}

// What the milter asks at the stages before a message, the engine answers.
var _ milter.Stages = (*engine.Engine)(nil)

// drainTime is how long messages in work may take after SIGTERM. It is longer than the
// deadline of a verdict.
const drainTime = 300 * time.Second

func runServe(ctx context.Context, k *call) int {
	config := k.flags.String("config", "", "configuration `file`; without it the defaults apply")
	if status, ok := k.parse(); !ok {
		return status
	}
	if k.flags.NArg() > 0 {
		return k.usagef("serve takes no arguments")
	}
	cfg, err := loadConfig(*config)
	if err != nil {
		return k.fail(exitUsage, err)
	}
	if cfg.DKIM.Enabled == nil {
		on := true
		cfg.DKIM.Enabled = &on
	}
	if cfg.Workers == nil {
		n := runtime.GOMAXPROCS(0)
		cfg.Workers = &n
	}
	cfg.tested = true
	cfg.VirusTotal.StateFile = filepath.Join(cfg.StateDir, "virustotal.quota")
	log := newLogger(cfg.Log, k.errOut)
	slog.SetDefault(log) // also for what third-party packages print by package log
	b, err := build(cfg, log)
	if err != nil {
		return k.fail(exitUsage, err)
	}
	defer b.close()
	s, err := newService(cfg, b, log)
	if err != nil {
		return k.fail(exitActed, err)
	}
	if err := s.run(ctx); err != nil {
		return k.fail(exitActed, err)
	}
	return exitOK
}

// A service is everything that runs.
type service struct {
	cfg   *Config
	built *built
	log   *slog.Logger
	store *quarantine.Store

	journal *journal.Journal // nil: nothing of the quarantine is shared
	mail    *milter.Server
	web     []*webServer

	metrics *prometheus.Registry
}

// A webServer is one listener with what answers on it.
type webServer struct {
	*http.Server
	l net.Listener
}

// newService opens all that can fail before the first connection is taken.
func newService(cfg *Config, b *built, log *slog.Logger) (_ *service, err error) {
	s := &service{cfg: cfg, built: b, log: log, metrics: prometheus.NewRegistry()}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	b.metrics, b.hosts = s.metrics, hosts.New(s.metrics)
	s.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if b.clamd != nil {
		s.metrics.MustRegister(clamdMetrics{b.clamd})
	}
	if err := usableDir(cfg.StateDir); err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	if s.store, b.exceptions, s.journal, err = openStore(cfg.Quarantine, log); err != nil {
		return nil, fmt.Errorf("quarantine: %w", err)
	}
	if s.journal != nil {
		s.metrics.MustRegister(journalMetrics{s.journal})
	}
	s.metrics.MustRegister(outboxMetrics{s.store})
	b.samples = engine.NewSampler(cfg.Samples, s.store, log)
	judge := b.engine(crashing(s.store))
	s.store.SetExaminer(judge.Rescan)
	renderer, err := engine.NewRenderer(judge, func(text []byte) (*policy.Policy, error) { return policy.Load("release", text, policyOptions(cfg)) })
	if err != nil {
		return nil, err
	}
	s.store.SetRenderer(renderer.Render)
	s.mail, err = milter.New(milter.Options{Config: cfg.Milter, Judge: judge, Logger: log, Spool: cfg.spool()})
	if err != nil {
		return nil, err
	}
	if err := s.mail.Listen(); err != nil {
		return nil, err
	}
	return s, s.listenWeb()
}

// usableDir makes the directory and sees that files can be made in it.
func usableDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".writable-")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// openQuarantine opens the quarantine, and the exceptions, which are in its database.
func openQuarantine(cfg quarantine.Config, log *slog.Logger) (*quarantine.Store, *exceptions.Book, error) {
	store, book, _, err := openStore(cfg, log)
	return store, book, err
}

// openStore opens the quarantine, the exceptions, and the journal, which is nil where nothing is shared.
func openStore(cfg quarantine.Config, log *slog.Logger) (*quarantine.Store, *exceptions.Book, *journal.Journal, error) {
	index, err := openIndex(cfg)
	if err != nil {
		return nil, nil, nil, err
	}
	book, err := exceptions.Open(context.Background(), index, log)
	if err != nil && !errors.Is(err, sqlindex.ErrUnreachable) { // without exceptions the policy is stricter, which is safe
		return nil, nil, nil, errors.Join(err, index.Close())
	}
	blobs, err := openBlobs(cfg)
	if err != nil {
		return nil, nil, nil, errors.Join(err, index.Close())
	}
	opt := quarantine.Options{Config: cfg, Index: index, Blobs: blobs, Log: log, Secret: scanners.ReadSecret}
	j, err := openJournal(cfg, &opt)
	if err != nil {
		return nil, nil, nil, errors.Join(err, index.Close(), blobs.Close())
	}
	s, err := quarantine.New(opt)
	if err != nil {
		return nil, nil, nil, errors.Join(err, opt.Index.Close(), opt.Blobs.Close())
	}
	return s, book, j, nil
}

// openIndex opens the records where the configuration says.
func openIndex(cfg quarantine.Config) (*sqlindex.Index, error) {
	if cfg.Index.Postgres != "" {
		return sqlindex.OpenPostgres(cfg.Index.WithDefaults())
	}
	return sqlindex.Open(cfg.IndexFile())
}

// listenWeb opens the API's socket, for this user only, and the TCP listener, which tells
// nothing but whether all is well.
func (s *service) listenWeb() error {
	opt := api.Options{Store: s.store, Hosts: s.built.hosts, Ready: s.ready, Metrics: s.metrics, Log: s.log,
		Exceptions: s.built.exceptions, Policy: s.built.policy.Load}
	unix, err := api.ListenUnix(s.cfg.API.Socket)
	if err != nil {
		return err
	}
	s.web = append(s.web, &webServer{api.NewServer(api.New(opt), s.log), unix})
	tcp, err := net.Listen("tcp", s.cfg.API.Address())
	if err != nil {
		return err
	}
	s.web = append(s.web, &webServer{api.NewServer(api.NewPublic(opt), s.log), tcp})
	return nil
}

// ready tells whether the service can do all of its work.
func (s *service) ready(ctx context.Context) []api.Check {
	checks := []api.Check{{Name: "policy", OK: true, Detail: s.built.policy.Load().Version}}
	if s.journal != nil {
		checks = append(checks, journalReady(s.journal))
	}
	if s.built.cache != nil {
		checks = append(checks, api.Check{Name: "cache", OK: true, Detail: s.built.cache.Stats().String()}) // mail does not depend on it
	}
	if s.built.hashes != nil {
		checks = append(checks, hashesReady(s.built.hashes))
	}
	if s.built.total != nil {
		checks = append(checks, totalReady(s.built.total, s.cfg.VirusTotal.Required))
	}
	if s.built.clamd != nil || len(s.built.others) == 0 {
		checks = append(checks, clamdReady(ctx, s.built.clamd)...)
	}
	return append(checks, othersReady(ctx, s.built.others)...)
}

// totalReady tells how it stands with VirusTotal; mail depends on it only if it is required.
func totalReady(v *virustotal.Scanner, required bool) api.Check {
	if err := v.Trouble(); err != nil {
		return api.Check{Name: "virustotal", OK: !required, Detail: err.Error()}
	}
	return api.Check{Name: "virustotal", OK: true}
}

func hashesReady(l *hashlist.Lists) api.Check {
	if err := l.Trouble(); err != nil {
		return api.Check{Name: "hashes", Detail: err.Error()}
	}
	return api.Check{Name: "hashes", OK: true, Detail: fmt.Sprintf("%d entries", l.Entries())}
}

// run serves until ctx ends, then drains.
func (s *service) run(ctx context.Context) error {
	defer s.close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var tasks sync.WaitGroup
	defer tasks.Wait()
	defer cancel()
	tasks.Go(func() { s.store.Run(ctx) })
	if s.journal != nil {
		tasks.Go(func() { s.journal.Run(ctx) })
	}
	if s.built.samples != nil {
		tasks.Go(func() { s.built.samples.Run(ctx) })
	}
	endOutbox := s.startOutbox()
	defer endOutbox()
	tasks.Go(func() { s.built.exceptions.Run(ctx) })
	tasks.Go(func() { s.reloads(ctx) })
	if s.built.clamd != nil {
		tasks.Go(func() { s.built.clamd.Watch(ctx) })
	}
	failed := make(chan error, 1+len(s.web))
	for _, w := range s.web {
		tasks.Go(func() {
			if err := w.Serve(w.l); !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("api: %w", err)
			}
		})
	}
	tasks.Go(func() {
		if err := s.mail.Serve(); err != nil {
			failed <- err
		}
	})
	s.started()
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	return errors.Join(err, s.drain(endOutbox))
}

// startOutbox sends what is queued, until the function that it gives is called; that waits for its end. What
// is sent comes back through this filter, so the outbox ends before the milter does.
func (s *service) startOutbox() (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { s.store.RunOutbox(ctx) })
	return func() { cancel(); running.Wait() }
}

func (s *service) started() {
	if s.built.clamd == nil && len(s.built.others) == 0 {
		s.log.Warn("NO CLAMD: none is configured and none was found at its usual sockets, so no message is scanned for malware")
	}
	s.tellWorkers()
	s.log.Info("started", "version", version(), "milter", fmt.Sprint(s.mail.Addrs()), "api", s.cfg.API.Address(),
		"socket", s.cfg.API.Socket, "policy", s.built.policy.Load().Version)
	_, _ = daemon.SdNotify(false, daemon.SdNotifyReady) // not run by systemd: nobody to tell
}

// tellWorkers says where containers are opened, and what holds that place closed.
func (s *service) tellWorkers() {
	if s.built.pool == nil {
		s.log.Warn("containers are opened in this process, because workers is 0: a decoder that fails may end it")
		return
	}
	by, notBy := s.built.pool.Confined()
	level := slog.LevelInfo
	if notBy != "" {
		level = slog.LevelWarn
	}
	s.log.Log(context.Background(), level, "containers are opened in workers", "workers", *s.cfg.Workers, "confined_by", by, "not_confined_by", notBy)
}

// reloads reads policy and hash lists anew on SIGHUP and when their files change. SIGHUP forgets what engines said too.
func (s *service) reloads(ctx context.Context) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	var watch sync.WaitGroup
	defer watch.Wait()
	watch.Go(func() {
		if err := s.built.policy.Watch(ctx); err != nil {
			s.log.Warn("changes of the policy file are not noticed; use SIGHUP", "error", err)
		}
	})
	if s.built.hashes != nil {
		watch.Go(func() { s.built.hashes.Watch(ctx) })
	}
	if s.built.total != nil {
		watch.Go(func() { s.built.total.Watch(ctx) })
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
			s.built.cache.Forget()
			_ = s.built.policy.Reload() // logs what came of it
			if s.built.hashes != nil {
				_ = s.built.hashes.Reload() // so does this
			}
		}
	}
}

// drain ends what was begun and takes nothing new.
func (s *service) drain(endOutbox func()) error {
	s.log.Info("stopping: messages in work are finished first")
	_, _ = daemon.SdNotify(false, daemon.SdNotifyStopping)
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	endOutbox()
	errs := []error{s.mail.Shutdown(ctx)}
	for _, w := range s.web {
		errs = append(errs, w.Shutdown(ctx))
	}
	return errors.Join(errs...)
}

// close gives back what newService opened.
func (s *service) close() {
	for _, w := range s.web {
		w.Close()
		w.l.Close()
	}
	if s.mail != nil {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = s.mail.Shutdown(ctx)
	}
	if s.built.exceptions != nil {
		if err := s.built.exceptions.Close(); err != nil {
			s.log.Error("close exceptions", "error", err)
		}
	}
	if s.store != nil {
		if err := s.store.Close(); err != nil {
			s.log.Error("close quarantine", "error", err)
		}
	}
}
