package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"rastel/policy"
	"rastel/policy/engine"
	"rastel/policy/exceptions"
	"rastel/policy/hosts"
	"rastel/policy/policytest"
	"rastel/sanitize"
	"rastel/sanitize/eml"
	"rastel/scanners"
	"rastel/scanners/archive"
	"rastel/scanners/cache"
	"rastel/scanners/clamd"
	programs "rastel/scanners/command"
	"rastel/scanners/dkim"
	"rastel/scanners/dmarc"
	"rastel/scanners/flatxml"
	"rastel/scanners/hashlist"
	"rastel/scanners/icap"
	"rastel/scanners/network"
	"rastel/scanners/office"
	"rastel/scanners/ole"
	"rastel/scanners/onenote"
	"rastel/scanners/pdf"
	"rastel/scanners/script"
	"rastel/scanners/virustotal"
	"rastel/scanners/worker"
)

// builtin is the list of scanners: to add one, write it and add its line.
func builtin(cfg *Config) []scanners.Named {
	return []scanners.Named{
		{Name: "names", Scanner: sanitize.Names{Config: cfg.Sanitize}},
		{Name: "types", Scanner: sanitize.Types{}},
		{Name: "html", Scanner: sanitize.HTML{Config: cfg.Sanitize}},
		{Name: "vobjects", Scanner: sanitize.VObjects{Config: cfg.Sanitize}},
		{Name: "people", Scanner: sanitize.People{Config: cfg.Sanitize}},
		{Name: "header", Scanner: sanitize.Header{Config: cfg.Sanitize}},
		{Name: "mail", Scanner: scanners.Mail{Limits: cfg.mimeLimits()}},
		{Name: "crypto", Scanner: scanners.Crypto{}},
		{Name: "script", Scanner: script.Scanner{}},
		{Name: "smuggling", Scanner: scanners.Smuggling{}},
		{Name: "ole", Scanner: ole.Files{}},
		{Name: "rtf", Scanner: ole.RTF{}},
		{Name: "activemime", Scanner: ole.ActiveMime{}},
		{Name: "office", Scanner: office.Scanner{}},
		{Name: "flatxml", Scanner: flatxml.Scanner{}},
		{Name: "onenote", Scanner: onenote.Scanner{}},
		{Name: "pdf", Scanner: pdf.Documents{}},
		{Name: "archive", Scanner: archive.New(archive.Config{})},
		{Name: "uuencode", Scanner: scanners.UUEncode{}},
		{Name: "yenc", Scanner: scanners.YEnc{}},
		{Name: "binhex", Scanner: scanners.BinHex{}},
		{Name: "apple", Scanner: scanners.Apple{}},
		{Name: "tnef", Scanner: scanners.TNEF{}},
		{Name: "inline", Scanner: scanners.VObjects{}},
	}
}

// A built is what a configuration comes to: all that examines and decides.
type built struct {
	cfg    *Config
	set    *scanners.Set
	cache  *cache.Cache        // nil: every engine is asked each time
	clamd  *clamd.Scanner      // nil: there is none
	hashes *hashlist.Lists     // nil: there are none
	total  *virustotal.Scanner // nil: it is not asked
	dkim   *dkim.Scanner       // nil: signatures are not verified
	pool   *worker.Pool        // nil: containers are opened in this process
	dns    *network.Resolver   // nil: nothing needs it
	others []other             // engines besides
	policy *policy.Live
	log    *slog.Logger

	hosts   *hosts.Table          // nil: nobody is counted
	samples *engine.Sampler       // nil: none are kept
	metrics prometheus.Registerer // nil: nothing is counted

	exceptions *exceptions.Book // nil: there are none
}

// build makes everything that serve, scan and explain have in common. The caller closes it.
func build(cfg *Config, log *slog.Logger) (*built, error) {
	b := &built{cfg: cfg, log: log}
	scanner, err := findClamd(cfg.Clamd, log)
	if err != nil {
		return nil, err
	}
	if b.cache, err = cache.New(cfg.Cache, log); err != nil {
		return nil, err
	}
	if cfg.Hashes.On() {
		if b.hashes, err = hashlist.New(cfg.Hashes, log); err != nil {
			return nil, err
		}
	}
	if cfg.VirusTotal.On() {
		cfg.VirusTotal.SpoolDir = cfg.SpoolDir
		if b.total, err = virustotal.New(cfg.VirusTotal, log); err != nil {
			return nil, err
		}
	}
	if err := b.makeOthers(); err != nil {
		return nil, err
	}
	if b.pool, err = startWorkers(cfg, log); err != nil {
		return nil, err
	}
	if b.policy, err = policy.NewLive(cfg.Policy, b.policyOptions(), log); err != nil {
		b.close()
		return nil, err
	}
	if err := b.assemble(scanner); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

// policyOptions are those of the policy in force. Where it is put in force for good, its own tests are run
// before, where containers are opened for mail too.
func (b *built) policyOptions() policy.Options {
	opt := policyOptions(b.cfg)
	if !b.cfg.tested {
		return opt
	}
	opt.Test = policyTester(b.cfg.Policy, func() *policytest.Runner {
		if b.pool == nil {
			return caseRunner(b.cfg, nil)
		}
		return caseRunner(b.cfg, b.pool.Isolate)
	})
	return opt
}

// close ends the workers, connections and look-ups, when nothing is examined any more.
func (b *built) close() {
	b.cache.Close()
	b.closeOthers()
	if b.total != nil {
		b.total.Close()
	}
	if b.dns != nil {
		b.dns.Close()
	}
	if b.pool != nil {
		b.pool.Close()
	}
}

// assemble makes the set of scanners; c is nil if there is no clamd.
func (b *built) assemble(c *clamd.Scanner) error {
	list := builtin(b.cfg)
	if b.pool != nil {
		list = b.pool.Isolate(list)
	}
	if b.hashes != nil {
		list = append(list, scanners.Named{Name: "hashes", Scanner: b.hashes})
	}
	if b.clamd = c; c != nil {
		list = append(list, scanners.Named{Name: "clamd", Scanner: b.kept("clamd", c), Waits: true})
	}
	if b.total != nil {
		list = append(list, scanners.Named{Name: "virustotal", Scanner: b.cache.Wrap("virustotal", b.total, b.total.Age), Waits: true})
	}
	for _, e := range b.others {
		list = append(list, scanners.Named{Name: e.Name(), Scanner: b.kept(e.Name(), e), Waits: true})
	}
	if b.cfg.DKIM.On() {
		b.dkim = dkim.New(b.cfg.DKIM)
		signed, err := b.signedOrMore()
		if err != nil {
			return err
		}
		list = append(list, scanners.Named{Name: "dkim", Scanner: signed, Waits: true})
	}
	if b.cfg.DNS.Asks() {
		lists, err := b.dnsLists()
		if err != nil {
			return err
		}
		list = append(list, scanners.Named{Name: "dns", Scanner: lists, Waits: true})
	}
	b.set = scanners.NewSet(scanners.Options{Budget: b.cfg.budget(), Spool: b.cfg.spool(), Passwords: b.cfg.Passwords, Logger: b.log}, list...)
	return nil
}

// signedOrMore verifies signatures; and with DMARC what it builds on them.
func (b *built) signedOrMore() (scanners.Scanner, error) {
	if !b.cfg.DMARC.Enabled {
		return b.dkim, nil
	}
	if err := b.resolver(); err != nil {
		return nil, err
	}
	return dmarc.New(b.cfg.DMARC, b.dns, b.cfg.relays, b.dkim), nil
}

// dnsLists makes the scanner that asks lists in DNS.
func (b *built) dnsLists() (*network.Scanner, error) {
	if err := b.resolver(); err != nil {
		return nil, err
	}
	return network.New(b.cfg.DNS, b.cfg.relays, b.dns, b.log)
}

// resolver makes the one resolver for all that asks DNS about senders.
func (b *built) resolver() (err error) {
	if b.dns == nil {
		b.dns, err = network.NewResolver(b.cfg.DNS)
	}
	return err
}

// kept has the verdicts of an engine kept.
func (b *built) kept(name string, s scanners.Scanner) scanners.Scanner {
	if e, ok := s.(scanners.Engine); ok {
		return b.cache.Wrap(name, e, nil)
	}
	return s
}

// findClamd uses the configured clamd, or one at its usual sockets, or none: a clamd that was
// never asked for is not missed.
func findClamd(cfg *clamd.Config, log *slog.Logger) (*clamd.Scanner, error) {
	if cfg != nil {
		return clamd.New(*cfg, log)
	}
	addr, ok := clamd.Discover(context.Background())
	if !ok {
		return nil, nil
	}
	return clamd.New(clamd.Config{Addresses: []string{addr}}, log)
}

// policyOptions are what a policy may name and what it can have done.
func policyOptions(cfg *Config) policy.Options {
	n := cfg.notices
	if n == nil {
		n = builtinNotices()
	}
	return policy.Options{Checks: knownChecks(cfg), Editor: editor{n}, Forms: sanitize.NameForms, Lists: builtinLists(), Host: cfg.relays.Host,
		Languages: n.Languages(), Banners: n.BannerNames(), Engines: engineNames(cfg)}
}

// builtinLists are the lists of package sanitize, as policies ask for them.
func builtinLists() []policy.List {
	var out []policy.List
	for _, l := range sanitize.Lists() {
		list := policy.List{Name: l.Name, Doc: l.Doc}
		for _, e := range l.Entries {
			list.Patterns = append(list.Patterns, e.Pattern())
		}
		out = append(out, list)
	}
	return out
}

// knownChecks are all checks that a policy may name, whether their scanner runs or not: the
// same policy must load with and without clamd.
func knownChecks(cfg *Config) []eml.Check {
	list := builtin(cfg)
	checks := append(slices.Clone(eml.Checks()), (&clamd.Scanner{}).Checks()...)
	checks = append(checks, (*hashlist.Lists)(nil).Checks()...)
	checks = append(checks, (*virustotal.Scanner)(nil).Checks()...)
	checks = append(checks, (*icap.Scanner)(nil).Checks()...)
	checks = append(checks, (*programs.Scanner)(nil).Checks()...)
	checks = append(checks, (*dkim.Scanner)(nil).Checks()...)
	checks = append(checks, (*dmarc.Scanner)(nil).Checks()...)
	checks = append(checks, (*network.Scanner)(nil).Checks()...)
	return append(checks, scanners.NewSet(scanners.Options{}, list...).Checks()...)
}

// engineNames are the engines that there are with this configuration, and those that there may be: the
// same policy must load with and without them.
func engineNames(cfg *Config) []string {
	out := []string{"clamd", "hashes", "virustotal"}
	out = append(out, otherNames(cfg)...)
	for _, n := range builtin(cfg) {
		if _, ok := n.Scanner.(scanners.Engine); ok {
			out = append(out, n.Name)
		}
	}
	return out
}

// engine makes the engine; q is nil where nothing is to be held.
func (b *built) engine(q engine.Quarantine) *engine.Engine {
	opt := engine.Options{Set: b.set, Policy: b.policy.Load, Quarantine: q, Limits: b.cfg.mimeLimits(), Logger: b.log, Metrics: b.metrics}
	opt.Host, opt.Samples, opt.Notify, opt.EvidenceField = b.cfg.relays.Host, b.samples, b.cfg.Notify, b.cfg.EvidenceField
	if b.hosts != nil {
		opt.Senders = b.hosts
	}
	if b.exceptions != nil {
		opt.Exceptions = b.exceptions
	}
	if b.dkim != nil {
		opt.Record = b.dkim.Record
	}
	return engine.New(opt)
}

// editor gives policy the edits that package sanitize knows to make.
type editor struct{ notices *sanitize.Notices }

// builtinNotices are the texts without a directory of others.
func builtinNotices() *sanitize.Notices {
	n, err := sanitize.NewNotices(sanitize.NoticeConfig{})
	if err != nil {
		panic(err) // a programmer's mistake
	}
	return n
}

func (e editor) Strip(p *eml.Part, r policy.Removal) ([]eml.Edit, error) {
	return e.notices.Strip(p, sanitize.Removal(r))
}

func (e editor) Banners(root *eml.Part, list []policy.Banner, edits []eml.Edit) (all []eml.Edit, untold bool, err error) {
	banners := make([]sanitize.Banner, len(list))
	for i, b := range list {
		banners[i] = sanitize.Banner{Text: b.Text, Name: b.Name, Languages: b.Languages, Keep: b.Keep, Others: b.Others, Item: b.Item, Anew: b.Anew}
		for _, r := range b.Renamed {
			banners[i].Renamed = append(banners[i].Renamed, sanitize.Renaming(r))
		}
	}
	return e.notices.PutBanners(root, banners, edits)
}

func (editor) Rewrite(p *eml.Part, text bool) ([]eml.Edit, error) {
	rewrite := sanitize.Clean
	if text {
		rewrite = sanitize.Text
	}
	edits, err := rewrite(p)
	if errors.Is(err, sanitize.ErrNotHTML) {
		return nil, nil
	}
	return edits, err
}

// Disarm asks the package that knows the documents of that type.
func (editor) Disarm(p *eml.Part, list []eml.Finding) ([]eml.Edit, error) {
	if p.Type == "zip" {
		return office.Disarm(p, list)
	}
	return nil, fmt.Errorf("nothing can be taken out of %s", p.Type)
}

func (editor) Rename(p *eml.Part) ([]eml.Edit, error) {
	return sanitize.Rename(p, sanitize.SafeName(p.Names)), nil
}

func (editor) Mangle(p *eml.Part) ([]eml.Edit, error) { return sanitize.Mangle(p), nil }
