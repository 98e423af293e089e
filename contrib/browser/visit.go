package browser

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	neturl "net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/domdebugger"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

const (
	// loadTimeout is how long a page may load. One that takes longer is acted upon as it is.
	loadTimeout = 3 * time.Second
	// visitTimeout is how long a visit may take.
	visitTimeout = 15 * time.Second
	// maxPoints is how many places of a page are clicked with the mouse. All elements are
	// clicked by an event.
	maxPoints = 6
)

// act is what a reader does, and some more.
//
//go:embed act.js
var act string

// errSaved is returned for what the browser does not show but saves.
var errSaved = errors.New("net::ERR_ABORTED")

// mhtName is the name of a file in which Chromium runs no scripts at all, so that a promise of ours
// is never kept either.
var mhtName = regexp.MustCompile(`(?i)\.mht(ml)?$`)

// Visit shows a page, does with it all that a reader may do, and tells what happened. An error
// means that it cannot be told: the tab is of no use any more then.
func (t *Tab) Visit(p Page) (*Record, error) {
	ctx, cancel := context.WithTimeout(t.ctx, visitTimeout)
	defer cancel()
	url, forget, err := t.b.place(p)
	if err != nil {
		return &Record{}, err
	}
	defer forget()
	rec := t.begin(url)
	if p.File != "" {
		t.set(func() { t.mht = mhtName.MatchString(p.File) })
		rec.near = url[:strings.LastIndexByte(url, '/')+1]
	}
	err = t.open(ctx, url)
	if p.File != "" && errors.Is(err, errSaved) {
		return rec, nil
	}
	if err != nil {
		return rec, fmt.Errorf("open a page: %w", err)
	}
	t.set(func() { t.acting = true })
	if err := t.act(ctx); err != nil {
		return rec, fmt.Errorf("act upon a page: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rec = &Record{} // what comes now is of nobody
	return rec, nil
}

// place puts a page where the browser finds it, until forget is called.
func (b *Browser) place(p Page) (url string, forget func(), err error) {
	if p.File == "" {
		url = b.server.add(p)
		return url, func() { b.server.remove(url) }, nil
	}
	dir, err := os.MkdirTemp("", "attached-")
	if err != nil {
		return "", nil, err
	}
	forget = func() { _ = os.RemoveAll(dir) } // of a page of ours
	name := filepath.Join(dir, filepath.Base(p.File))
	if err := os.WriteFile(name, p.Content, 0o600); err != nil {
		forget()
		return "", nil, err
	}
	return (&neturl.URL{Scheme: "file", Path: name}).String(), forget, nil
}

func (t *Tab) set(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f()
}

func (t *Tab) begin(url string) *Record {
	rec := &Record{}
	t.set(func() {
		t.url, t.rec, t.acting, t.asking, t.mht = url, rec, false, false, false
		clear(t.scripts)
		t.ready, t.loader, t.loaded = make(chan struct{}), "", map[cdp.LoaderID]bool{}
	})
	return rec
}

// open navigates and waits until the page is loaded.
func (t *Tab) open(ctx context.Context, url string) error {
	t.mu.Lock()
	ready := t.ready
	t.mu.Unlock()
	res, err := chromedp.Call(ctx, page.Navigate, page.NavigateParams{URL: url})
	if err != nil {
		return err
	}
	if res.ErrorText == "net::ERR_ABORTED" {
		return errSaved
	}
	if res.ErrorText != "" {
		return errors.New(res.ErrorText)
	}
	t.set(func() {
		t.loader = res.LoaderID
		t.checkReady()
	})
	select {
	case <-ready:
	case <-time.After(loadTimeout):
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// world makes a world for our scripts, in which the page has the same elements and no scripts.
func (t *Tab) world(ctx context.Context) (runtime.ExecutionContextID, error) {
	w, err := chromedp.Call(ctx, page.CreateIsolatedWorld, page.CreateIsolatedWorldParams{FrameID: t.frame, WorldName: "test"})
	return w.ExecutionContextID, err
}

func (t *Tab) act(ctx context.Context) error {
	world, err := t.world(ctx)
	if err != nil {
		return err
	}
	var done struct {
		Points  [][2]float64
		Targets []string
	}
	script, wait := act, "new Promise(done => setTimeout(() => done({}), 30))"
	t.set(func() {
		if t.mht {
			script, wait = strings.ReplaceAll(act, "setTimeout(done, ms)", "done()"), "({})"
		}
	})
	if err := t.eval(ctx, world, script, &done); err != nil {
		return err
	}
	t.set(func() { t.rec.targets(done.Targets) })
	for _, p := range done.Points[:min(len(done.Points), maxPoints)] {
		if err := t.click(ctx, p[0], p[1]); err != nil {
			return err
		}
	}
	for _, key := range []string{"Tab", "Enter"} {
		if err := t.press(ctx, key); err != nil {
			return err
		}
	}
	// What the clicks began has time to happen.
	if world, err = t.world(ctx); err != nil { // it may be another page by now
		return err
	}
	if err := t.eval(ctx, world, wait, &done); err != nil {
		return err
	}
	return t.handlers(ctx, world)
}

// eval runs a script of ours and decodes its result.
func (t *Tab) eval(ctx context.Context, world runtime.ExecutionContextID, script string, result any) error {
	yes := true
	res, err := chromedp.Call(ctx, runtime.Evaluate, runtime.EvaluateParams{
		Expression: script, ContextID: world, ReturnByValue: &yes, AwaitPromise: &yes, UserGesture: &yes,
	})
	if err != nil {
		return err
	}
	if res.ExceptionDetails != nil {
		return fmt.Errorf("script of the test: %s", res.ExceptionDetails.Text)
	}
	return json.Unmarshal(res.Result.Value, result)
}

func (t *Tab) click(ctx context.Context, x, y float64) error {
	for _, kind := range []input.DispatchMouseEventType{
		input.DispatchMouseEventTypeMouseMoved, input.DispatchMouseEventTypeMousePressed, input.DispatchMouseEventTypeMouseReleased,
	} {
		p := input.DispatchMouseEventParams{Type: kind, X: x, Y: y}
		if kind != input.DispatchMouseEventTypeMouseMoved {
			p.Button, p.ClickCount = input.MouseButtonLeft, 1
		}
		if err := call(ctx, input.DispatchMouseEvent, p); err != nil {
			return err
		}
	}
	return nil
}

func (t *Tab) press(ctx context.Context, key string) error {
	code := map[string]int64{"Tab": 9, "Enter": 13}[key]
	p := input.DispatchKeyEventParams{Type: input.DispatchKeyEventTypeRawKeyDown, Key: key, Code: key, WindowsVirtualKeyCode: code}
	return call(ctx, input.DispatchKeyEvent, p) // the events of letting it go are in act.js
}

// handlers notes what would run upon some event, whether or not one of ours was that.
func (t *Tab) handlers(ctx context.Context, world runtime.ExecutionContextID) error {
	t.set(func() { t.asking = true }) // handlers are compiled when somebody looks
	for _, object := range []string{"document", "window"} {
		res, err := chromedp.Call(ctx, runtime.Evaluate, runtime.EvaluateParams{Expression: object, ContextID: world})
		if err != nil {
			return err
		}
		deep, pierce := int64(-1), true
		found, err := chromedp.Call(ctx, domdebugger.GetEventListeners, domdebugger.GetEventListenersParams{
			ObjectID: res.Result.ObjectID, Depth: &deep, Pierce: &pierce,
		})
		if err != nil {
			return err
		}
		t.set(func() {
			for _, l := range found.Listeners {
				if theirs, known := t.scripts[l.ScriptID]; !known || theirs {
					add(&t.rec.Scripts, "handler: %s", l.Type)
				}
			}
		})
	}
	return nil
}
