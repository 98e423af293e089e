package scanners

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"rastel/sanitize/eml"
)

// fakeEngine examines what its name is in, leaves PDF alone, and has parts of text examined
// with the message.
type fakeEngine struct{ whole error }

func (fakeEngine) Checks() []eml.Check { return nil }
func (fakeEngine) Version() string     { return "1" }
func (fakeEngine) Passes(p *eml.Part) string {
	switch {
	case p.Type == "pdf":
		return "a document"
	case p.MediaType == "text/plain":
		return WithMessage
	}
	return ""
}

func (e fakeEngine) Scan(_ context.Context, p *eml.Part) ([]eml.Finding, error) {
	switch head := string(p.Head(6)); {
	case !Examines(e, p):
		return nil, nil
	case strings.HasPrefix(head, "fail"):
		return nil, errors.New("no answer")
	case strings.HasPrefix(head, "large"):
		return []eml.Finding{{Check: "test/limit", Part: p, Detail: "too large", Unexamined: true}}, nil
	}
	return nil, nil
}

func (e fakeEngine) ScanMessage(context.Context, *eml.Message) ([]eml.Finding, error) {
	return nil, e.whole
}

func TestReportTellsWhatEachEngineExamined(t *testing.T) {
	raw := "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\nhello\n"
	for _, content := range []string{"good", "fail", "large", "%PDF-1.4", ""} {
		raw += "--b\nContent-Type: application/octet-stream\n\n" + content + "\n"
	}
	raw += "--b--\n"
	const rest = "; 1.2 a true ; 1.3 a false no answer; 1.4 a false test/limit: too large; 1.5 a false a document"
	for _, c := range []struct {
		whole error
		want  string
	}{
		{nil, "1.1 a true with the message" + rest},
		{errors.New("broken"), "1.1 a false with the message: broken" + rest},
	} {
		_, report := examine(t, NewSet(Options{}, Named{Name: "a", Scanner: fakeEngine{c.whole}}, Named{Name: "none", Scanner: seen}), raw)
		var got []string
		for _, l := range report.Looks {
			got = append(got, fmt.Sprintf("%s %s %v %s", l.Part.ID, l.Engine, l.Examined, l.Why))
		}
		if s := strings.Join(got, "; "); s != c.want {
			t.Errorf("got  %s\nwant %s", s, c.want)
		}
	}
}

// opinion is an engine whose failures are nobody's trouble.
type opinion struct{ fakeEngine }

func (opinion) Scan(context.Context, *eml.Part) ([]eml.Finding, error) {
	return nil, fmt.Errorf("asked: %w", &Optional{Err: errors.New("no answer")})
}

func TestAnOpinionThatIsMissingIsToldAndNoMore(t *testing.T) {
	_, report := examine(t, NewSet(Options{}, Named{Name: "a", Scanner: opinion{}}), "Content-Type: application/octet-stream\n\ngood\n")
	if len(report.Unexamined) > 0 || len(report.Findings) > 0 {
		t.Errorf("got %v, %v", report.Unexamined, report.Findings)
	}
	if len(report.Looks) != 1 || report.Looks[0].Examined || report.Looks[0].Why != "asked: no answer" {
		t.Errorf("got %+v", report.Looks)
	}
}
