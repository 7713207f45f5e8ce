package sqlstore_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// A file that cannot be used is an error that names it, and is left as it was.
func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text.db")
	content := bytes.Repeat([]byte("this is no database\n"), 500)
	if err := os.WriteFile(text, content, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		path    string
		migrate bool
		want    error
	}{
		"a directory":                {dir, true, stabilize.ErrInvalid},
		"a directory that is absent": {filepath.Join(dir, "absent", "x.db"), true, stabilize.ErrInvalid},
		"a file as directory":        {filepath.Join(text, "x.db"), true, stabilize.ErrInvalid},
		"no database":                {text, true, stabilize.ErrInvalid},
		"no database, not migrated":  {text, false, stabilize.ErrInvalid},
		"a typo":                     {filepath.Join(dir, "tpyo.db"), false, stabilize.ErrNotFound},
		"a device":                   {os.DevNull, true, stabilize.ErrInvalid},
		"a place to create no file":  {"/proc/stabilize.db", true, stabilize.ErrInvalid},
		"memory":                     {":memory:", true, stabilize.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := sqlstore.Open(t.Context(), sqlstore.Config{Path: c.path, Migrate: c.migrate})
			if err == nil {
				_ = s.Close()
				t.Fatal("opened")
			}
			if !errors.Is(err, c.want) || c.path != ":memory:" && !strings.Contains(err.Error(), c.path) {
				t.Errorf("%v is not %v naming %q", err, c.want, c.path)
			}
		})
	}
	if got, err := os.ReadFile(text); err != nil || !bytes.Equal(got, content) {
		t.Errorf("the file that is no database was changed (%v)", err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) != 1 {
		t.Errorf("files were left: %v, %v", left, err)
	}
}

func TestOpenConfig(t *testing.T) {
	for name, change := range map[string]func(*sqlstore.Config){
		"nothing to open":    func(c *sqlstore.Config) { c.Path = "" },
		"two things":         func(c *sqlstore.Config) { c.DB = &sql.DB{} },
		"NUL":                func(c *sqlstore.Config) { c.Path = "a\x00b" },
		"unknown driver":     func(c *sqlstore.Config) { c.Driver = "no such driver" },
		"hostile prefix":     func(c *sqlstore.Config) { c.Prefix = `x"; DROP TABLE y; --` },
		"prefix of a digit":  func(c *sqlstore.Config) { c.Prefix = "1x" },
		"long prefix":        func(c *sqlstore.Config) { c.Prefix = strings.Repeat("x", 33) },
		"synchronous":        func(c *sqlstore.Config) { c.Synchronous = 9 },
		"negative timeout":   func(c *sqlstore.Config) { c.BusyTimeout = -1 },
		"payload over limit": func(c *sqlstore.Config) { c.MaxPayload = 1 << 31 },
		"readers":            func(c *sqlstore.Config) { c.Readers = -1 },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := sqlstore.Config{Path: tempFile(t), Migrate: true}
			change(&cfg)
			if _, err := sqlstore.Open(t.Context(), cfg); !errors.Is(err, stabilize.ErrInvalid) {
				t.Errorf("got %v", err)
			}
		})
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	path := tempFile(t)
	if _, err := sqlstore.Open(canceled, sqlstore.Config{Path: path, Migrate: true}); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a canceled Open made the file: %v", err)
	}
}

// Every character that a path may hold is only a character.
func TestOpenOddPath(t *testing.T) {
	for _, name := range []string{"a b.db", "q?mode=memory.db", "50%25.db", "#.db", "ünï 'code\".db", "a&_pragma=x.db"} {
		path := filepath.Join(t.TempDir(), name)
		s := open(t, path)
		commit(t, s, creation("w"))
		if _, err := os.Stat(path); err != nil {
			t.Errorf("%q: %v", name, err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("%q: close: %v", name, err)
		}
		if _, err := open(t, path).Load(t.Context(), "w"); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// A database given by the caller is used as it is, with one connection only and
// without a write-ahead log, and is not closed.
func TestGivenDatabase(t *testing.T) {
	db := raw(t, tempFile(t))
	db.SetMaxOpenConns(1)
	run(t, db, "CREATE TABLE orders (id TEXT)")
	given := func(c *sqlstore.Config) { c.Path, c.DB, c.Prefix = "", db, "stabilize_" }
	s := open(t, "", given)
	create := creation("w")
	create.Messages = append(create.Messages, message("m", "w"))
	commit(t, s, create)
	if got := claim(t, s, "worker", 1); len(got) != 1 {
		t.Errorf("claimed %v", got)
	}
	if _, err := s.Load(t.Context(), "w"); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	var n int
	if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM stabilize_workflows, orders").Scan(&n); err != nil {
		t.Errorf("the database that was given: %v", err)
	}
	_ = db.Close()
	if _, err := sqlstore.Open(t.Context(), sqlstore.Config{DB: db}); !errors.Is(err, stabilize.ErrClosed) {
		t.Errorf("opening on a closed database: %v", err)
	}
}

// Stores of two prefixes in one file never see each other's data.
func TestPrefixes(t *testing.T) {
	path := tempFile(t)
	with := func(p string) func(*sqlstore.Config) { return func(c *sqlstore.Config) { c.Prefix = p } }
	a, b := open(t, path, with("a_")), open(t, path, with("b_"))
	create := creation("w")
	create.Messages = append(create.Messages, message("m", "w"))
	commit(t, a, create)
	if _, err := b.Load(t.Context(), "w"); !errors.Is(err, stabilize.ErrNotFound) {
		t.Errorf("loaded another's workflow: %v", err)
	}
	if got := claim(t, b, "worker", 9); len(got) != 0 {
		t.Errorf("claimed another's message: %v", got)
	}
	commit(t, b, creation("w"))
}

// Both settings of Synchronous reach the database.
func TestSynchronous(t *testing.T) {
	for setting, want := range map[sqlstore.Synchronous]string{sqlstore.Full: "FULL", sqlstore.Normal: "NORMAL"} {
		d := newDriver(t)
		open(t, tempFile(t), d.use, func(c *sqlstore.Config) { c.Synchronous = setting })
		for _, name := range []string{"FULL", "NORMAL"} {
			if _, set := d.pragmas.Load("PRAGMA synchronous=" + name); set != (name == want) {
				t.Errorf("%s was set to %s: %t", want, name, set)
			}
		}
	}
}
