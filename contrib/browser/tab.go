package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/css"
	"github.com/chromedp/cdproto/debugger"
	"github.com/chromedp/cdproto/dom"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/fetch"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// callTimeout is how long the browser may take to answer a command of a few.
const callTimeout = 20 * time.Second

// A Tab shows one page after another. It is used by one goroutine at a time.
type Tab struct {
	b      *Browser
	ctx    context.Context // of chromedp
	cancel context.CancelFunc
	frame  cdp.FrameID    // the page itself
	calls  sync.WaitGroup // answers to events

	mu      sync.Mutex
	url     string // of the page
	rec     *Record
	acting  bool                  // the reader clicks
	asking  bool                  // what is compiled now is compiled because we ask for it
	mht     bool                  // the page is one that was saved with all that is in it
	ready   chan struct{}         // closed when the page is loaded
	scripts map[cdp.ScriptID]bool // true: of the page
	loader  cdp.LoaderID
	loaded  map[cdp.LoaderID]bool
}

// NewTab opens a tab that shares nothing with others. Whoever opens it closes it.
func (b *Browser) NewTab() (*Tab, error) {
	t := &Tab{b: b, rec: &Record{}, scripts: map[cdp.ScriptID]bool{}}
	t.ctx, t.cancel = chromedp.NewContext(b.ctx, chromedp.WithNewBrowserContext(), chromedp.WithListener(t.event))
	if err := t.prepare(); err != nil {
		t.Close()
		return nil, fmt.Errorf("open a tab: %w", err)
	}
	return t, nil
}

func (t *Tab) prepare() error {
	if err := chromedp.Do(t.ctx); err != nil {
		return err
	}
	tree, err := chromedp.Call(t.ctx, page.GetFrameTree, cdp.Empty{})
	if err != nil {
		return err
	}
	t.frame = tree.FrameTree.Frame.ID
	t.listen()
	for _, f := range []func() error{
		func() error { return call(t.ctx, css.Disable, cdp.Empty{}) }, // of chromedp, and much work
		func() error { return call(t.ctx, dom.Disable, cdp.Empty{}) },
		func() error { return call(t.ctx, debugger.Enable, debugger.EnableParams{}) },
		func() error {
			return call(t.ctx, debugger.SetSkipAllPauses, debugger.SetSkipAllPausesParams{Skip: true})
		},
		func() error {
			return call(t.ctx, fetch.Enable, fetch.EnableParams{Patterns: []*fetch.RequestPattern{{URLPattern: "*"}}})
		},
		func() error {
			return call(t.ctx, network.SetCacheDisabled, network.SetCacheDisabledParams{CacheDisabled: true})
		},
		func() error {
			return call(t.ctx, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true})
		},
		func() error { return t.resize(800, 600) },
	} {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

// listen reads the events that chromedp does not know.
func (t *Tab) listen() {
	events, cancel := chromedp.FromContext(t.ctx).Target.Subscribe("Page.frameScheduledNavigation")
	t.calls.Go(func() {
		defer cancel()
		for {
			select {
			case <-t.ctx.Done():
				return
			case raw, ok := <-events:
				var e scheduled
				if !ok {
					return
				}
				if json.Unmarshal(raw, &e) == nil {
					t.set(func() { t.rec.refresh(e) })
				}
			}
		}
	})
}

// call is chromedp.Call for commands whose result is of no interest.
func call[P, R any](ctx context.Context, cmd cdp.Command[P, R], params P) error {
	_, err := chromedp.Call(ctx, cmd, params)
	return err
}

func (t *Tab) resize(width, height int64) error {
	return call(t.ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: height, DeviceScaleFactor: 1})
}

// Close closes the tab and the windows that its pages opened.
func (t *Tab) Close() {
	ctx, cancel := context.WithTimeout(t.ctx, stopTimeout)
	_ = chromedp.Cancel(ctx) // it goes with the browser
	cancel()
	t.cancel()
	t.calls.Wait()
}

// answer runs a command without waiting for its result: events come on the goroutine that also
// reads results.
func (t *Tab) answer(f func(context.Context) error) {
	t.calls.Go(func() {
		ctx, cancel := context.WithTimeout(t.ctx, callTimeout)
		defer cancel()
		_ = f(ctx) // the page has gone, and with it the question
	})
}

// event notes what the page does. chromedp calls it in the order of events.
func (t *Tab) event(ev any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch e := ev.(type) {
	case *debugger.EventScriptParsed:
		t.script(string(e.ExecutionContextAuxData), e.URL, e.StartLine, e.Length)
		t.scripts[e.ScriptID] = pageWorld(string(e.ExecutionContextAuxData))
	case *debugger.EventScriptFailedToParse:
		t.script(string(e.ExecutionContextAuxData), e.URL, e.StartLine, e.Length)
	case *page.EventJavascriptDialogOpening:
		t.dialog(e)
	case *page.EventLifecycleEvent:
		if e.Name == "load" && e.FrameID == t.frame {
			t.load(e.LoaderID)
		}
	case *page.EventFrameAttached:
		add(&t.rec.Active, "frame")
	case *page.EventFrameRequestedNavigation:
		t.rec.navigation(e, e.FrameID == t.frame, t.acting)
	case *page.EventWindowOpen:
		t.rec.window(e, t.acting)
	case *network.EventRequestWillBeSent:
		if !t.own(e.Type, e.Request.URL) {
			t.rec.request(e.Type, e.Request.URL)
		}
	case *network.EventWebSocketCreated:
		add(&t.rec.Active, "load: WebSocket %s", e.URL)
	case *fetch.EventRequestPaused:
		t.paused(e)
	}
}

// own reports whether a request is that of the browser itself: for the page, or for the picture
// that browsers show of a site.
func (t *Tab) own(kind network.ResourceType, url string) bool {
	if kind == network.ResourceTypeDocument {
		return url == t.url
	}
	return kind == network.ResourceTypeOther && url == "http://"+t.b.server.addr+"/favicon.ico"
}

// script notes a script of the page. Ours run in a world of their own.
func (t *Tab) script(world, url string, line, length int64) {
	if t.mht && url == "" && line == 0 {
		return // the browser's own, which makes shadow trees of templates; in these pages it runs no other
	}
	if !t.asking && pageWorld(world) {
		add(&t.rec.Scripts, "script: %s line %d, %d bytes", strings.TrimPrefix(url, t.url), line+1, length)
	}
}

// pageWorld reports whether a script of such a world is one of the page.
func pageWorld(world string) bool { return strings.Contains(world, `"isDefault":true`) }

func (t *Tab) dialog(e *page.EventJavascriptDialogOpening) {
	add(&t.rec.Scripts, "dialog: %s %q", e.Type, e.Message)
	t.answer(func(ctx context.Context) error {
		return call(ctx, page.HandleJavaScriptDialog, page.HandleJavaScriptDialogParams{Accept: true})
	})
}

func (t *Tab) load(id cdp.LoaderID) {
	if t.loaded != nil {
		t.loaded[id] = true
		t.checkReady()
	}
}

func (t *Tab) checkReady() {
	if t.ready != nil && t.loader != "" && t.loaded[t.loader] {
		close(t.ready)
		t.ready = nil
	}
}

// paused answers a request. Only the page itself is there. Where a click leads to is an empty
// answer, on which a browser stays where it is (RFC 9110, section 15.3.5).
func (t *Tab) paused(e *fetch.EventRequestPaused) {
	page := t.own(e.ResourceType, e.Request.URL) && e.ResourceType == network.ResourceTypeDocument
	t.answer(func(ctx context.Context) error {
		switch {
		case page:
			return call(ctx, fetch.ContinueRequest, fetch.ContinueRequestParams{RequestID: e.RequestID})
		case e.ResourceType == network.ResourceTypeDocument:
			return call(ctx, fetch.FulfillRequest, fetch.FulfillRequestParams{RequestID: e.RequestID, ResponseCode: 204})
		}
		return call(ctx, fetch.FailRequest, fetch.FailRequestParams{RequestID: e.RequestID, ErrorReason: network.ErrorReasonBlockedByClient})
	})
}
