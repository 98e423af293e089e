package sqlindex

import (
	"context"
	"database/sql/driver"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A pgConnector is that of pgx, made to take the statements and the values of SQLite: places for arguments are
// question marks, and text is any bytes. So there is one set of statements, and whoever writes them need not
// know of PostgreSQL.
type pgConnector struct{ driver.Connector }

func (c pgConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return pgConn{conn.(pgxConn)}, nil
}

// A pgxConn is what a connection of pgx can do.
type pgxConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.NamedValueChecker
	driver.Pinger
	driver.SessionResetter
}

type pgConn struct{ pgxConn }

func (c pgConn) PrepareContext(context.Context, string) (driver.Stmt, error) {
	panic("sqlindex: a prepared statement; pgx keeps those itself")
}

func (c pgConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	return c.pgxConn.ExecContext(ctx, numbered(query), escapedArgs(args))
}

func (c pgConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	rows, err := c.pgxConn.QueryContext(ctx, numbered(query), escapedArgs(args))
	if err != nil {
		return nil, err
	}
	return pgRows{rows}, nil
}

type pgRows struct{ driver.Rows }

func (r pgRows) Next(dest []driver.Value) error {
	if err := r.Rows.Next(dest); err != nil {
		return err
	}
	for i, v := range dest {
		if s, ok := v.(string); ok {
			dest[i] = unescape(s)
		}
	}
	return nil
}

// numbered makes $1, $2 and so on of the question marks that stand outside of quotes.
func numbered(query string) string {
	var b strings.Builder
	quoted, n := false, 0
	for i := range len(query) {
		switch c := query[i]; {
		case c == '\'':
			quoted = !quoted
			b.WriteByte(c)
		case c == '?' && !quoted:
			n++
			b.WriteByte('$')
			b.WriteString(strconv.Itoa(n))
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

func escapedArgs(args []driver.NamedValue) []driver.NamedValue {
	for i, a := range args {
		if s, ok := a.Value.(string); ok {
			args[i].Value = escape(s)
		}
	}
	return args
}

// escapeByte stands before two hexadecimal digits, which are a byte. It is SUB, a substitute (ECMA-48 section
// 8.3.148), which text hardly has.
const escapeByte = 0x1a

const hexDigits = "0123456789abcdef"

// escape makes text that PostgreSQL takes of any: it has neither NUL nor invalid UTF-8. Text that it takes
// anyhow stays as it is.
func escape(s string) string {
	if utf8.ValidString(s) && !strings.ContainsAny(s, "\x00\x1a") {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && n == 1 || r == 0 || r == escapeByte {
			b.Write([]byte{escapeByte, hexDigits[s[0]>>4], hexDigits[s[0]&15]})
		} else {
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return b.String()
}

// unescape is the reverse of escape. What escape does not make stays as it is.
func unescape(s string) string {
	if strings.IndexByte(s, escapeByte) < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == escapeByte && i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b = append(b, byte(n))
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}
