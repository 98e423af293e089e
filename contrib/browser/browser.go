package browser

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/chromedp"
)

// program is Chromium as Debian calls it.
const program = "chromium"

// stopTimeout is how long the browser may take to end before it is killed.
const stopTimeout = 10 * time.Second

// Missing says what is not there, and which Debian package has it. Nothing is missing if it is
// empty.
func Missing() []string {
	var missing []string
	if _, err := exec.LookPath(program); err != nil {
		missing = append(missing, program+": Debian package chromium")
	}
	out, err := exec.Command("fc-list").Output()
	if err != nil || !strings.Contains(string(out), "DejaVu") {
		missing = append(missing, "a font, without which screenshots show no text: Debian packages fontconfig and fonts-dejavu-core")
	}
	return missing
}

// A Browser is a Chromium without a window, and the server that it gets its pages from.
type Browser struct {
	Version string // "Chrome/156.0.8078.79"

	ctx    context.Context // of chromedp, which keeps its state in it
	cancel []context.CancelFunc
	server *server
}

// Start starts a browser. Whoever starts it closes it.
func Start(parent context.Context) (*Browser, error) {
	s, err := newServer()
	if err != nil {
		return nil, err
	}
	b := &Browser{server: s}
	ctx, cancel := chromedp.NewExecAllocator(parent, flags()...)
	b.cancel = append(b.cancel, cancel)
	b.ctx, cancel = chromedp.NewContext(ctx, chromedp.WithErrorf(func(string, ...any) {}))
	b.cancel = append(b.cancel, cancel)
	if err := chromedp.Do(b.ctx); err != nil {
		b.Close()
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	v, err := chromedp.CallBrowser(b.ctx, browser.GetVersion, cdp.Empty{})
	if err != nil {
		b.Close()
		return nil, fmt.Errorf("version of %s: %w", program, err)
	}
	b.Version = v.Product
	return b, nil
}

func flags() []chromedp.ExecAllocatorOption {
	f := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.DisableGPU)
	for name, value := range map[string]any{
		// Nothing leaves the machine, whatever a page asks for.
		"host-resolver-rules":      "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
		"no-proxy-server":          true,
		"disable-component-update": true,
		"no-pings":                 false, // a page may try: that is a finding
		// All frames of a page in its own process, so that its tab sees all their events.
		"disable-site-isolation-trials": true,
		"disable-features":              "Translate,IsolateOrigins,site-per-process,IsolateSandboxedIframes,OptimizationHints,MediaRouter",
		"mute-audio":                    true,
		"hide-scrollbars":               true,
		"font-render-hinting":           "none",
	} {
		f = append(f, chromedp.Flag(name, value))
	}
	return f
}

// Close ends the browser and its server.
func (b *Browser) Close() {
	if b.ctx != nil {
		ctx, cancel := context.WithTimeout(b.ctx, stopTimeout)
		_ = chromedp.Cancel(ctx) // it is killed below
		cancel()
	}
	for i := len(b.cancel) - 1; i >= 0; i-- {
		b.cancel[i]()
	}
	b.server.close()
}
