package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	_ "modernc.org/sqlite" // the default driver, "sqlite"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// What is SQLite's own: error codes, how a file is opened, how the one write
// lock is taken.

// Primary result codes of SQLite (https://www.sqlite.org/rescode.html).
const (
	codeError     = 1
	codePerm      = 3
	codeBusy      = 5
	codeSnapshot  = 5 | 2<<8 // extended: a transaction that has read wants to write, and others wrote since
	codeLocked    = 6
	codeNoMem     = 7
	codeReadOnly  = 8
	codeInterrupt = 9
	codeIOErr     = 10
	codeCorrupt   = 11
	codeFull      = 13
	codeCantOpen  = 14
	codeProtocol  = 15
	codeTooBig    = 18
	codeNotADB    = 26
)

// primary cuts an extended result code.
func primary(code int) int { return code & 0xff }

func codeMethod(err error) (int, bool) {
	var coded interface{ Code() int }
	if errors.As(err, &coded) {
		return coded.Code(), true
	}
	return 0, false
}

func classOfCode(code int) error {
	switch primary(code) {
	case codeBusy, codeLocked, codeNoMem, codeReadOnly, codeInterrupt, codeIOErr, codeFull, codeCantOpen,
		codePerm, codeProtocol:
		return stabilize.ErrTransient // the disk may get better, the error may not be ours
	case codeCorrupt, codeNotADB:
		return stabilize.ErrCorrupt
	case codeTooBig:
		return stabilize.ErrTooLarge
	}
	return stabilize.ErrInternal
}

// isBusy reports that another connection or process holds a lock.
func (s *Store) isBusy(err error) bool {
	if s.pg != nil {
		return mayRetry(err)
	}
	code, ok := s.cfg.ErrorCode(err)
	return ok && (primary(code) == codeBusy || primary(code) == codeLocked)
}

// isOutdated reports that a transaction reads what others have changed since, so
// that it never gets the write lock.
func (s *Store) isOutdated(err error) bool {
	code, ok := s.cfg.ErrorCode(err)
	return ok && code == codeSnapshot
}

// patience is how long a call goes on asking for a lock. It waits in real
// time, whatever the Clock says: so does whoever holds the lock.
type patience struct {
	left time.Duration
	next time.Duration
}

func (s *Store) patience() patience { return patience{left: s.cfg.BusyTimeout, next: time.Millisecond} }

// wait reports false when the time is over or ctx ended.
func (p *patience) wait(ctx context.Context) bool {
	if p.left <= 0 {
		return false
	}
	d := min(p.left, p.next/2+rand.N(p.next)) // spread, so that processes do not ask in step
	p.left -= d
	p.next = min(2*p.next, 20*time.Millisecond)
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// lockWrite takes the write lock: as the first statement of a transaction a
// write does what BEGIN IMMEDIATE does, on every driver and without a say in
// how the connection was set up.
func (s *Store) lockWrite(ctx context.Context, tx *wtx, p *patience) error {
	for {
		_, err := tx.exec(stLock)
		if err == nil || !s.isBusy(err) || s.isOutdated(err) || !p.wait(ctx) {
			return err
		}
		tx.used[stLock] = nil // one that could not be prepared, on a new connection, keeps its error
	}
}

// checkPath refuses what can be known to fail before the file is touched.
func checkPath(path string, create bool) error {
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return stabilize.Invalid("config path", "%q is a directory", path)
	case err == nil && !info.Mode().IsRegular():
		return stabilize.Invalid("config path", "%q is not a file", path)
	case err == nil:
		return nil
	case !errors.Is(err, os.ErrNotExist):
		return stabilize.Invalid("config path", "%q: %v", path, err)
	case !create:
		return &stabilize.NotFoundError{Kind: "database file", ID: path}
	}
	dir := filepath.Dir(path)
	if info, err = os.Stat(dir); err != nil {
		return stabilize.Invalid("config path", "%q: %v", path, err)
	} else if !info.IsDir() {
		return stabilize.Invalid("config path", "%q: %q is not a directory", path, dir)
	}
	return nil
}

// pathError says of which file an error at Open is. A file that cannot be used
// is bad input; a lock that was not given is not.
func (s *Store) pathError(ctx context.Context, doing string, err error) error {
	if err == nil || persistence.Classified(err) || ctx.Err() != nil || s.cfg.Path == "" {
		return s.classify(ctx, doing, err)
	}
	doing = fmt.Sprintf("%s %q", doing, s.cfg.Path)
	if code, ok := s.cfg.ErrorCode(err); ok {
		switch primary(code) {
		case codeError, codeNotADB, codeCantOpen, codeReadOnly, codePerm: // codeError: another's table is in the way
			return failure(stabilize.ErrInvalid, doing, err)
		}
	}
	return s.classify(ctx, doing, err)
}

// pool opens a pool of connections to the file, each set up with the pragmas.
func pool(cfg *Config, size int, pragmas ...string) (*sql.DB, error) {
	// A URI, so that no character of the path means anything to a driver.
	dsn := "file:" + strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(cfg.Path)
	probe, err := sql.Open(cfg.Driver, dsn) // connects to nothing yet
	if err != nil {
		return nil, stabilize.Invalid("config driver", "%v", err)
	}
	drv := probe.Driver()
	if err := probe.Close(); err != nil {
		return nil, stabilize.Invalid("config driver", "%v", err)
	}
	sync := "FULL"
	if cfg.Synchronous == Normal {
		sync = "NORMAL"
	}
	pragmas = append([]string{"synchronous=" + sync}, pragmas...)
	db := sql.OpenDB(&connector{drv: drv, dsn: dsn, pragmas: pragmas})
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	return db, nil
}

type connector struct {
	drv     driver.Driver
	dsn     string
	pragmas []string
}

func (c *connector) Driver() driver.Driver { return c.drv }

func (c *connector) Connect(context.Context) (driver.Conn, error) {
	conn, err := c.drv.Open(c.dsn)
	if err != nil {
		return nil, err
	}
	for _, p := range c.pragmas {
		if err := pragma(conn, p); err != nil {
			_ = conn.Close()
			return nil, err
		}
	}
	return conn, nil
}

func pragma(conn driver.Conn, text string) error {
	st, err := conn.Prepare("PRAGMA " + text)
	if err != nil {
		return err
	}
	defer st.Close()
	rows, err := st.Query(nil) //nolint:staticcheck // every driver has it
	if err != nil {
		return err
	}
	defer rows.Close()
	values := make([]driver.Value, len(rows.Columns()))
	for {
		if err := rows.Next(values); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}

// useWAL makes readers and the writer independent of each other; it is a
// property of the file.
func (s *Store) useWAL(ctx context.Context) error {
	var mode string
	p := s.patience()
	for {
		err := s.w.QueryRowContext(ctx, "PRAGMA journal_mode=WAL").Scan(&mode)
		if err != nil && s.isBusy(err) && p.wait(ctx) {
			continue
		}
		if err == nil && mode != "wal" {
			return fmt.Errorf("sqlstore: %q cannot have a write-ahead log here (journal mode %s): %w", s.cfg.Path, mode, stabilize.ErrUnsupported)
		}
		return err
	}
}
