package eml

import (
	"io"
	"slices"
	"testing"
)

// What is told of a part is enough to read it elsewhere, whether its content is in memory, in a file
// or in the message.
func TestDetachedPartIsRead(t *testing.T) {
	for _, raw := range []string{
		"Content-Type: text/x; name=a.txt\r\n\r\ncontent",
		"Content-Type: text/x; name=a.txt\r\nContent-Transfer-Encoding: base64\r\n\r\nY29udGVudA==",
	} {
		s := NewSpool(SpoolOptions{})
		io.WriteString(s, raw)
		s.CloseWrite(nil)
		m, _, err := Parse(t.Context(), &Envelope{}, s, Limits{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		f, err := m.Root.File()
		if err != nil {
			t.Fatal(err)
		}
		p := m.Root.Detach().Attach(f)
		m.Close()
		s.Close()
		got, err := io.ReadAll(p.Content())
		if string(got) != "content" || err != nil || p.Type != "text" || p.Size != 7 || !slices.Equal(p.Names, []string{"a.txt"}) || p.ID != "1" || !p.Leaf() {
			t.Errorf("got %q, %v, %+v", got, err, p.Detach())
		}
		view, release, err := p.View()
		if string(view) != "content" || err != nil {
			t.Errorf("view is %q, %v", view, err)
		}
		release()
		f.Close()
	}
}
