package browser

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/draw"
	"image/png"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

const (
	// maxHeight is how much of a page a picture shows.
	maxHeight = 8000
	// viewHeight is the height of the window that it is laid out for.
	viewHeight = 800
)

// Picture shows a page in a window of a width, and returns a picture of it from top to bottom.
func (t *Tab) Picture(p Page, width int64) (*image.RGBA, error) {
	ctx, cancel := context.WithTimeout(t.ctx, visitTimeout)
	defer cancel()
	url := t.b.server.add(p)
	defer t.b.server.remove(url)
	if err := t.resize(width, viewHeight); err != nil {
		return nil, err
	}
	t.begin(url)
	if err := t.open(ctx, url); err != nil {
		return nil, fmt.Errorf("open a page: %w", err)
	}
	world, err := t.world(ctx)
	if err != nil {
		return nil, err
	}
	var height float64
	const settled = "document.fonts.ready.then(() => new Promise(done => requestAnimationFrame(() => done(document.documentElement.scrollHeight))))"
	if err := t.eval(ctx, world, settled, &height); err != nil {
		return nil, err
	}
	yes := true
	shot, err := chromedp.Call(ctx, page.CaptureScreenshot, page.CaptureScreenshotParams{
		CaptureBeyondViewport: &yes, OptimizeForSpeed: &yes,
		Clip: &page.Viewport{Width: float64(width), Height: min(height, maxHeight), Scale: 1},
	})
	if err != nil {
		return nil, fmt.Errorf("take a picture: %w", err)
	}
	return decode(shot.Data)
}

func decode(data []byte) (*image.RGBA, error) {
	m, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("picture: %w", err)
	}
	out := image.NewRGBA(m.Bounds())
	draw.Draw(out, out.Bounds(), m, m.Bounds().Min, draw.Src)
	return out, nil
}

// Different counts the pixels that differ. What only one of the pictures has does.
func Different(a, b *image.RGBA) int {
	all := a.Bounds().Union(b.Bounds())
	n := 0
	for y := all.Min.Y; y < all.Max.Y; y++ {
		for x := all.Min.X; x < all.Max.X; x++ {
			p := image.Pt(x, y)
			if p.In(a.Bounds()) != p.In(b.Bounds()) || a.RGBAAt(x, y) != b.RGBAAt(x, y) {
				n++
			}
		}
	}
	return n
}
