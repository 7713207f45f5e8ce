package enginebench

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/stores"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// site is where the databases of one kind of store are made.
type site interface {
	// open opens an empty database that nobody has used.
	open(ctx context.Context, clock stabilize.Clock) (persistence.Store, error)
	// shared returns how another process opens the store that was opened last, and
	// whether the bytes that it writes are to be counted there.
	shared() (dsn string, count bool, err error)
	// limit opens the raw limit of this kind of store, on data of its own; nil if
	// it has none.
	limit(ctx context.Context) (limit, error)
	// written returns how many bytes have been written up to now, by a measure
	// that only differences make sense of.
	written() int64
	// close removes every database of the site.
	close()
}

// limit does the writes of one step and nothing else.
type limit interface {
	// steps does n steps, one after the other, size of them in each commit.
	steps(ctx context.Context, n, size int) error
	close() error
}

// counting is a site whose stores count what they send to their server.
type counting interface {
	// sent returns how many commands were sent up to now, each a round trip, and how
	// many documents of workflows were written by them.
	sent() (trips, writes int64)
}

// crowd is a limit of a database that several connections write to at once.
type crowd interface {
	// single does n steps, each a commit of its own, over rawConnections connections
	// at the same time.
	single(ctx context.Context, n int) error
}

func openSite(open Opener, o *options) (site, error) {
	if open != nil {
		return openOwnSite(open, o.dir)
	}
	dsn := o.dsn
	switch scheme, rest, _ := strings.Cut(dsn, ":"); scheme {
	case "memory":
		_, err := stores.Parse(dsn)
		return memorySite{}, err
	case "sqlite":
		return openSQLiteSite(rest)
	case "postgres", "postgresql":
		return openPostgresSite(dsn)
	case "mongodb", "mongodb+srv":
		return openMongoSite(dsn)
	}
	_, err := stores.Parse(dsn)
	if err == nil {
		err = stabilize.Invalid("DSN", "this kind of store has no raw limit here yet")
	}
	return nil, err
}

// sqliteSite is a directory for database files, removed at the end.
type sqliteSite struct {
	dir         string
	synchronous string
	files       int
	opened      string // DSN of the last
}

// openSQLiteSite makes the directory where the path says, see doc.go. rest is
// the DSN after its scheme.
func openSQLiteSite(rest string) (site, error) {
	path, query, _ := strings.Cut(strings.TrimPrefix(rest, "//"), "?")
	named := path
	if named == "" {
		named = "bench.db" // only to have the rest of the DSN checked
	}
	checked := "sqlite://" + named
	if query != "" {
		checked += "?" + query
	}
	if !strings.HasPrefix(rest, "//") {
		checked = "sqlite:" + rest
	}
	d, err := stores.Parse(checked)
	if err != nil {
		return nil, err
	}
	dir := "" // the system's
	if path != "" {
		if dir, err = directoryOf(path); err != nil {
			return nil, err
		}
	}
	if dir, err = os.MkdirTemp(dir, "enginebench-"); err != nil {
		return nil, stabilize.Invalid("DSN path", "no directory can be made there: %v", err)
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	return &sqliteSite{dir: dir, synchronous: d.Synchronous}, nil
}

// directoryOf returns the directory that path is, or lies in.
func directoryOf(path string) (string, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return filepath.Dir(path), nil
	case err != nil:
		return "", stabilize.Invalid("DSN path", "%v", err)
	case info.IsDir():
		return path, nil
	case info.Size() > 0:
		return "", stabilize.Invalid("DSN path", "%q holds data: the benchmark runs on databases of its own only", path)
	}
	return filepath.Dir(path), nil
}

func (s *sqliteSite) file() string {
	s.files++
	return filepath.Join(s.dir, fmt.Sprintf("bench-%d.db", s.files))
}

func (s *sqliteSite) open(ctx context.Context, clock stabilize.Clock) (persistence.Store, error) {
	path := s.file()
	if strings.Contains(path, "?") {
		return nil, stabilize.Invalid("DSN path", "%q holds a question mark", path)
	}
	s.opened = "sqlite://" + path + "?" + url.Values{"synchronous": {s.synchronous}}.Encode()
	return stores.DSN(s.opened)(ctx, persistence.Settings{Clock: clock})
}

func (s *sqliteSite) shared() (string, bool, error) { return s.opened, true, nil }

func (s *sqliteSite) limit(ctx context.Context) (limit, error) {
	return openSQLiteLimit(ctx, s.file(), s.synchronous)
}

func (s *sqliteSite) written() int64 { return written(s.dir) }

// written is what the process wrote, or the size of what is in the directory.
func written(dir string) int64 {
	if n, ok := writtenByProcess(); ok {
		return n
	}
	var sum int64
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return nil //nolint:nilerr // a file that vanished meanwhile counts nothing
		}
		if info, err := e.Info(); err == nil {
			sum += info.Size()
		}
		return nil
	})
	return sum
}

func (s *sqliteSite) close() { _ = os.RemoveAll(s.dir) }

// memorySite needs no place.
type memorySite struct{}

func (memorySite) open(ctx context.Context, clock stabilize.Clock) (persistence.Store, error) {
	return stores.DSN("memory:")(ctx, persistence.Settings{Clock: clock})
}
func (memorySite) shared() (string, bool, error) {
	return "", false, stabilize.Invalid("-workers", "no other process sees what is in memory")
}
func (memorySite) limit(context.Context) (limit, error) { return newMemoryLimit(), nil }
func (memorySite) written() int64                       { return 0 }
func (memorySite) close()                               {}
