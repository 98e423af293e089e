package icap

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

const (
	// chunkSize is how much of a content is sent in one chunk.
	chunkSize = 64 << 10
	// maxPreview bounds what is sent before the service says that it wants more, whatever it asks for.
	maxPreview = 64 << 10

	statusContinue  = 100
	statusOK        = 200
	statusNoContent = 204
)

// errLocal says that the content could not be read on our side, so that what the service was sent is
// not the content.
var errLocal = errors.New("read what to scan")

// content is what a service is asked about. It can be sent several times.
type content struct {
	size   int64
	reader func() io.Reader
}

// The request and the response of HTTP that the content is wrapped in. They are the same for all
// content: what an engine finds must depend on nothing else (scanners.Engine), and a name or type
// that the sender chose may only persuade it to look less closely.
const httpRequest = "GET http://mail.invalid/part.bin HTTP/1.1\r\nHost: mail.invalid\r\n\r\n"

func httpResponse(size int64) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n", size)
}

// optionsRequest asks what the service can do (RFC 3507 section 4.10).
func (t target) optionsRequest() string {
	return "OPTIONS " + t.uri + " ICAP/1.0\r\nHost: " + t.host + "\r\nUser-Agent: rastel\r\nEncapsulated: null-body=0\r\n\r\n"
}

// modifyRequest is the beginning of a RESPMOD request (RFC 3507 section 4.9), up to the content. A
// negative preview means that there is none.
func (t target) modifyRequest(size int64, preview int64, allow204 bool) string {
	head := "RESPMOD " + t.uri + " ICAP/1.0\r\nHost: " + t.host + "\r\nUser-Agent: rastel\r\n"
	if allow204 {
		head += "Allow: 204\r\n"
	}
	if preview >= 0 {
		head += fmt.Sprintf("Preview: %d\r\n", preview)
	}
	response := httpResponse(size)
	head += fmt.Sprintf("Encapsulated: req-hdr=0, res-hdr=%d, res-body=%d\r\n\r\n", len(httpRequest), len(httpRequest)+len(response))
	return head + httpRequest + response
}

// writeChunks writes n bytes of r in chunks, without the last one, which is empty.
func writeChunks(w *bufio.Writer, r io.Reader, n int64) error {
	buf := make([]byte, min(n, chunkSize))
	for n > 0 {
		b := buf[:min(n, chunkSize)]
		// ReadFull takes the last bytes whether io.EOF comes with them or after.
		if _, err := io.ReadFull(r, b); err != nil {
			return fmt.Errorf("%w: %d bytes are missing: %w", errLocal, n, err)
		}
		fmt.Fprintf(w, "%x\r\n", len(b))
		w.Write(b)
		if _, err := w.WriteString("\r\n"); err != nil {
			return err
		}
		n -= int64(len(b))
	}
	return nil
}

// The chunk that ends a body, and the one that says that a preview was all of it (RFC 3507 section 4.5).
const (
	lastChunk = "0\r\n\r\n"
	wholeOnly = "0; ieof\r\n\r\n"
)

// writeRest writes what is left of r and ends the body. It is not ended unless all of the content was
// written: the service would take what it has for all, and call it clean.
func writeRest(w *bufio.Writer, r io.Reader, n int64) error {
	if err := writeChunks(w, r, n); err != nil {
		return err
	}
	w.WriteString(lastChunk)
	return w.Flush()
}
