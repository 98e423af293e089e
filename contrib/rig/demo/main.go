// Command demo shows rastel at work: a private Postfix, clamd and rastel on loopback ports, a
// dozen messages by SMTP, what became of each, and a release from quarantine. It exits with 0
// only if everything went as the default policy says. contrib/demo installs what it needs.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"rastel/contrib/rig"
)

func main() {
	rastel := flag.String("rastel", "", "the rastel `program` to show")
	keep := flag.Bool("keep", false, "leave everything running until interrupted")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *rastel, *keep); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// A demo is everything that runs.
type demo struct {
	rastel, dir, config string
	milter, web         string // addresses
	sink                *rig.Sink
	clamd               *rig.Clamd
	postfix             *rig.Postfix
	filter              *exec.Cmd
	ended               chan error // of the filter
}

func run(ctx context.Context, rastel string, keep bool) (err error) {
	if m := rig.Missing(rig.NeedPostfix, rig.NeedClamd); len(m) > 0 {
		return fmt.Errorf("missing: %s", strings.Join(m, "; "))
	}
	d := &demo{rastel: rastel}
	defer func() { err = errors.Join(err, d.stop()) }()
	if err := d.start(ctx); err != nil {
		return err
	}
	list, err := rig.Samples()
	if err != nil {
		return err
	}
	if err := d.show(ctx, list); err != nil {
		return err
	}
	if err := d.release(ctx); err != nil {
		return err
	}
	fmt.Printf("\nHealth and readiness: http://%s/readyz   API: %s/rastel.sock\n", d.web, d.dir)
	if keep {
		fmt.Printf("SMTP: %s   Configuration: %s\nTry: %s quarantine list -config %s\nInterrupt with Ctrl-C to end.\n", d.postfix.Addr, d.config, d.rastel, d.config)
		<-ctx.Done()
	}
	return nil
}

// start starts the servers, each with its own directory.
func (d *demo) start(ctx context.Context) (err error) {
	if d.dir, err = os.MkdirTemp("", "rastel-demo-"); err != nil {
		return err
	}
	if d.sink, err = rig.StartSink(); err != nil {
		return err
	}
	fmt.Println("Starting clamd, Postfix and rastel on loopback ports of their own ...")
	if d.clamd, err = rig.StartClamd(rig.ClamdOptions{Lines: []string{"AlertExceedsMax yes", "AlertEncrypted yes"}}); err != nil {
		return err
	}
	if d.milter, err = freePort(); err != nil {
		return err
	}
	if d.web, err = freePort(); err != nil {
		return err
	}
	if d.postfix, err = rig.StartPostfix(rig.PostfixOptions{Milter: "inet:" + d.milter, Sink: d.sink.Addr}); err != nil {
		return err
	}
	return d.startFilter(ctx)
}

// freePort finds a port that is free now.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func (d *demo) startFilter(ctx context.Context) error {
	d.config = filepath.Join(d.dir, "rastel.yaml")
	config := fmt.Sprintf("state_dir: %s\nmilter: {listen: [\"inet:%s\"]}\napi: {listen: \"%s\"}\nclamd: {addresses: [%q]}\nquarantine: {release: {smtp: %q}}\nlog: {format: json}\n",
		d.dir, d.milter, d.web, d.clamd.Addr, d.postfix.Addr)
	if err := os.WriteFile(d.config, []byte(config), 0o600); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(d.dir, "rastel.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	d.filter = exec.Command(d.rastel, "serve", "-config", d.config)
	d.filter.Stdout, d.filter.Stderr = log, log
	if err := d.filter.Start(); err != nil {
		return err
	}
	d.ended = make(chan error, 1)
	go func() { d.ended <- d.filter.Wait() }()
	return d.ready(ctx)
}

// ready waits until the filter says that it is.
func (d *demo) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if r, err := http.Get("http://" + d.web + "/readyz"); err == nil {
			r.Body.Close()
			if r.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-tick.C:
		case err := <-d.ended:
			d.ended <- err
			return fmt.Errorf("rastel ended: %w\n%s", err, d.log())
		case <-ctx.Done():
			return fmt.Errorf("rastel is not ready: %w\n%s", ctx.Err(), d.log())
		}
	}
}

func (d *demo) log() []byte {
	b, _ := os.ReadFile(filepath.Join(d.dir, "rastel.log")) // only quoted in an error
	return b
}

// show sends the messages and prints what became of each.
func (d *demo) show(ctx context.Context, list []rig.Sample) error {
	fmt.Println()
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "MESSAGE\tSMTP REPLY\tVERDICT\tRULE\tDELIVERED\tAS EXPECTED")
	wrong := 0
	for _, s := range list {
		f, err := d.send(ctx, s.Raw)
		if err != nil {
			return fmt.Errorf("%s: %w", s.Name, err)
		}
		ok := "yes"
		if f.outcome != s.Outcome {
			ok = "NO: " + s.Outcome
			wrong++
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", s.Name, f.reply, f.action, f.rule, f.delivered, ok)
	}
	w.Flush()
	if wrong > 0 {
		return fmt.Errorf("%d of %d messages did not end as the policy says\n%s", wrong, len(list), d.log())
	}
	return nil
}

// A fate is what became of a message.
type fate struct {
	reply        string // of Postfix
	action, rule string // of rastel, by its log
	delivered    string // for people
	outcome      string // one of rig's; empty for any other
}

// send sends one message and finds out what became of it: either it is delivered or, once the
// reply is there, in the quarantine already.
func (d *demo) send(ctx context.Context, raw []byte) (*fate, error) {
	before := len(d.sink.Deliveries())
	held, err := d.held(ctx)
	if err != nil {
		return nil, err
	}
	r, err := rig.Send(d.postfix.Addr, "alice@sender.test", []string{"bob@example.test"}, raw)
	if err != nil {
		return nil, err
	}
	text := strings.Join(r.Lines, " ")
	f := &fate{reply: fmt.Sprintf("%d %.40s", r.Code, text), delivered: "nothing"}
	if !r.OK() {
		return f, nil
	}
	if f.action, f.rule, err = d.verdict(text[strings.LastIndexByte(text, ' ')+1:]); err != nil {
		return nil, err
	}
	now, err := d.held(ctx)
	if err != nil {
		return nil, err
	}
	if len(now) > len(held) {
		f.outcome = rig.Quarantined
		return f, nil
	}
	got, err := d.sink.Wait(before+1, 30*time.Second)
	if err != nil {
		return nil, err
	}
	f.delivered = "changed"
	switch out := got[before].Raw; {
	case bytes.HasSuffix(out, raw[bytes.Index(raw, []byte("\r\n\r\n")):]):
		f.delivered, f.outcome = "body as it was sent", rig.Delivered
	case bytes.Contains(out, []byte("DEFANGED")):
		f.delivered, f.outcome = "defanged", rig.Defanged
	}
	return f, nil
}

// verdict finds in the log what was decided about the message that Postfix knows by the ID,
// and by which rules.
func (d *demo) verdict(queueID string) (action, rules string, err error) {
	for dec := json.NewDecoder(bytes.NewReader(d.log())); dec.More(); {
		var line struct {
			Msg     string `json:"msg"`
			QueueID string `json:"queue_id"`
			Action  string `json:"action"`
			Rules   string `json:"rules"`
		}
		if err := dec.Decode(&line); err != nil {
			return "", "", fmt.Errorf("log: %w", err)
		}
		if line.Msg == "verdict" && line.QueueID == queueID {
			return line.Action, line.Rules, nil
		}
	}
	return "", "", fmt.Errorf("no verdict about %s in the log:\n%s", queueID, d.log())
}

// An item is what is used of a quarantined message.
type item struct {
	ID      string `json:"id"`
	Subject string `json:"subject"`
}

// held asks the command line for the quarantined messages, newest first.
func (d *demo) held(ctx context.Context) ([]item, error) {
	out, err := d.command(ctx, "list", "-json")
	if err != nil {
		return nil, err
	}
	var items []item
	for dec := json.NewDecoder(bytes.NewReader(out)); dec.More(); {
		var it item
		if err := dec.Decode(&it); err != nil {
			return nil, err
		}
		items = append(items, it)
	}
	return items, nil
}

func (d *demo) command(ctx context.Context, args ...string) ([]byte, error) {
	var errOut bytes.Buffer
	cmd := exec.CommandContext(ctx, d.rastel, append([]string{"quarantine", "-config", d.config}, args...)...)
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("rastel quarantine %s: %w: %s", strings.Join(args, " "), err, errOut.Bytes())
	}
	return out, nil
}

// release releases the newest message and waits for its delivery.
func (d *demo) release(ctx context.Context) error {
	items, err := d.held(ctx)
	if err != nil {
		return err
	}
	before := len(d.sink.Deliveries())
	fmt.Printf("\nReleasing %s (%s)\n", items[0].ID, items[0].Subject)
	out, err := d.command(ctx, "release", items[0].ID)
	if err != nil {
		return err
	}
	os.Stdout.Write(out)
	got, err := d.sink.Wait(before+1, 30*time.Second)
	if err != nil {
		return fmt.Errorf("released but not delivered: %w\n%s", err, d.log())
	}
	g := got[before]
	if !bytes.Contains(g.Raw, []byte("Subject: "+items[0].Subject)) || bytes.Contains(g.Raw, []byte("X-Rastel-Release")) {
		return fmt.Errorf("what was delivered is not the message:\n%s", g.Raw)
	}
	fmt.Printf("Delivered: from %s to %s, %d bytes\n", g.Sender, strings.Join(g.Recipients, ", "), len(g.Raw))
	return nil
}

// stop ends what was started, the filter first.
func (d *demo) stop() error {
	var errs []error
	if d.ended != nil {
		errs = append(errs, d.filter.Process.Signal(syscall.SIGTERM), <-d.ended)
	}
	if d.postfix != nil {
		errs = append(errs, d.postfix.Stop())
	}
	if d.clamd != nil {
		errs = append(errs, d.clamd.Stop())
	}
	if d.sink != nil {
		errs = append(errs, d.sink.Stop())
	}
	if d.dir != "" {
		errs = append(errs, os.RemoveAll(d.dir))
	}
	return errors.Join(errs...)
}
