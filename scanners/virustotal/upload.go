package virustotal

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"time"

	"rastel/sanitize/eml"
)

const (
	// maxUpload is what POST /files takes.
	maxUpload = 32 << 20
	// maxUploads wait at a time; more are left out.
	maxUploads    = 4
	uploadTimeout = 2 * time.Minute
)

// An upload is content that is given to VirusTotal when its message is long gone.
type upload struct {
	content *eml.Spool // a copy of its own
	sum     [32]byte
}

// offer has the content of a part uploaded, if Watch runs and not too much waits already.
func (s *Scanner) offer(p *eml.Part) {
	if p.Size > maxUpload || !s.uploading.Load() || len(s.uploads) == cap(s.uploads) {
		return
	}
	c := eml.NewSpool(eml.SpoolOptions{Dir: s.cfg.SpoolDir, Max: maxUpload})
	if _, err := io.Copy(c, p.Content()); err != nil {
		s.log.Warn("content is not given to VirusTotal", "error", err)
		c.Close()
		return
	}
	c.CloseWrite(nil)
	select {
	case s.uploads <- upload{c, p.SHA256}:
	default:
		c.Close()
	}
}

// Watch uploads what is offered, one after the other, until ctx ends. Without it nothing is uploaded.
func (s *Scanner) Watch(ctx context.Context) {
	if !s.cfg.Upload {
		return
	}
	s.uploading.Store(true)
	defer func() {
		s.uploading.Store(false)
		for len(s.uploads) > 0 {
			(<-s.uploads).content.Close()
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case u := <-s.uploads:
			s.upload(ctx, u)
		}
	}
}

func (s *Scanner) upload(ctx context.Context, u upload) {
	defer u.content.Close()
	ctx, cancel := context.WithTimeout(ctx, uploadTimeout)
	defer cancel()
	name := hex.EncodeToString(u.sum[:]) // not the one in the message, which may tell more
	err := s.turn(ctx, func() error { return s.post(ctx, u, name) })
	if err != nil {
		s.log.Warn("content was not given to VirusTotal", "sha256", name, "error", err)
		return
	}
	s.log.Info("content was given to VirusTotal", "sha256", name, "size", u.content.Size())
}

// post uploads a file (docs.virustotal.com/reference/files-scan).
func (s *Scanner) post(ctx context.Context, u upload, name string) error {
	var around bytes.Buffer
	w := multipart.NewWriter(&around)
	if _, err := w.CreateFormFile("file", name); err != nil {
		return err
	}
	before := around.Len()
	if err := w.Close(); err != nil {
		return err
	}
	body := io.MultiReader(bytes.NewReader(around.Bytes()[:before]), io.NewSectionReader(u.content, 0, u.content.Size()), bytes.NewReader(around.Bytes()[before:]))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.cfg.URL+"/api/v3/files", body)
	if err != nil {
		return err
	}
	req.ContentLength = int64(around.Len()) + u.content.Size()
	req.Header.Set("Content-Type", w.FormDataContentType())
	r, err := s.send(req)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(r.Body, maxReply))
	if err != nil {
		return err
	}
	if r.StatusCode != http.StatusOK {
		return &refusal{r.StatusCode, errorCode(answer)}
	}
	var a struct {
		Data struct {
			Type string `json:"type"`
		} `json:"data"`
	}
	if err := json.Unmarshal(answer, &a); err != nil || a.Data.Type != "analysis" {
		return fmt.Errorf("the answer of VirusTotal is no analysis")
	}
	return nil
}
