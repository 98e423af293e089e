package clamd

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"rastel/sanitize/eml"
	"rastel/scanners/scannertest"
)

// A fake is a server with the faults that a real clamd does not have at our command.
type fake struct {
	addr  string // as in Config.Addresses
	conns atomic.Int32
}

// serve starts a fake that hands each connection to handle, and closes it afterwards.
func serve(t *testing.T, network string, handle func(conn net.Conn)) *fake {
	t.Helper()
	at := "127.0.0.1:0"
	if network == "unix" {
		at = filepath.Join(shortDir(t), "s")
	}
	f := &fake{}
	f.addr = network + ":" + scannertest.Serve(t, network, at, func(conn net.Conn) { f.conns.Add(1); handle(conn) })
	return f
}

// answering reads what it is sent to its end, then replies.
func answering(reply string) func(net.Conn) {
	return func(conn net.Conn) {
		if receive(conn) == nil {
			io.WriteString(conn, reply)
		}
	}
}

// receive reads a command and its content.
func receive(conn net.Conn) error {
	r := bufio.NewReader(conn)
	cmd, err := r.ReadString(0)
	if err != nil {
		return err
	}
	if strings.HasPrefix(cmd, "zFILDES") {
		_, err = r.ReadByte()
		return err
	}
	for {
		var n uint32
		if err := binary.Read(r, binary.BigEndian, &n); err != nil || n == 0 {
			return err
		}
		if _, err := io.CopyN(io.Discard, r, int64(n)); err != nil {
			return err
		}
	}
}

// hold keeps the connection open until the other side closes it.
func hold(conn net.Conn) { io.Copy(io.Discard, conn) }

func newScanner(t *testing.T, cfg Config) *Scanner {
	t.Helper()
	s, err := New(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// parse reads a message for the time of the test.
func parse(t *testing.T, raw string) *eml.Message {
	t.Helper()
	sp := eml.NewSpool(eml.SpoolOptions{})
	if _, err := io.WriteString(sp, raw); err != nil {
		t.Fatal(err)
	}
	sp.CloseWrite(nil)
	m, _, err := eml.Parse(context.Background(), &eml.Envelope{}, sp, eml.Limits{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close(); sp.Close() })
	return m
}

// file is a message that is one attached file.
func file(t *testing.T, data string) *eml.Part {
	t.Helper()
	return parse(t, "Content-Type: application/octet-stream; name=a.bin\r\nContent-Transfer-Encoding: binary\r\n\r\n"+data).Root
}
