package storetest

import (
	"context"
	"fmt"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/internal/kit"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// migrations is the group MG.
func migrations() []check {
	of := func(id, sentence string, run func(*env, conformance.Database)) check {
		return clauseFor(conformance.CanMigrate, id, sentence, func(e *env) { run(e, e.unmigrated()) })
	}
	return []check{
		of("MG-01", "Migrating an empty database makes a store that works; migrating again changes nothing.", mg01),
		of("MG-02", "Five migrators started together all succeed, and each migration is applied once.", mg02),
		of("MG-04", "After a migration that failed nobody takes the database for migrated, and the next run finishes.", mg04),
		of("MG-06", "A database that is newer than the program is refused with ErrSchemaTooNew, and left as it is.", mg06),
		of("MG-07", "On a database that was not migrated every method returns ErrSchemaMissing, until somebody migrates it.", mg07),
		of("MG-08", "Opening a store does not migrate unless asked.", mg08),
	}
}

func (e *env) unmigrated() conformance.Database {
	e.Helper()
	d, err := power[conformance.Migrator](e).Unmigrated(e.Ctx())
	e.Must(err, "making a database without schema")
	return d
}

func (e *env) schema(d conformance.Database) string {
	e.Helper()
	text, err := d.Schema(e.Ctx())
	e.Must(err, "reading the schema")
	return text
}

// migrated opens a handle on a database, which must succeed.
func (e *env) opened(d conformance.Database, migrate bool) persistence.Store {
	e.Helper()
	s, err := d.Open(e.Ctx(), migrate)
	e.Must(err, "opening a database, migrating: %t", migrate)
	return s
}

// migrate migrates and closes, and returns the schema.
func (e *env) migrate(d conformance.Database) string {
	e.Helper()
	e.Must(e.opened(d, true).Close(), "closing")
	return e.schema(d)
}

// works fails unless a store takes a workflow and a message.
func (e *env) works(s persistence.Store, id string) {
	e.Helper()
	e.commit(s, kit.Creation(kit.Workflow(id, e.Now(), "s")))
	e.load(s, id)
	e.Push(s, about(id, "message of "+id))
	e.List([]string{"message of " + id}, e.Pending(s, id), "what is pending in a store just migrated")
}

// missing fails unless every method finds no schema.
func (e *env) missing(s persistence.Store, when string) {
	e.Helper()
	calls := e.calls()
	calls["Push"] = func(ctx context.Context, s persistence.Store) error { return s.Push(ctx, kit.Send("m")) }
	calls["Claim"] = func(ctx context.Context, s persistence.Store) error {
		_, err := s.Claim(ctx, kit.Worker("w"), kit.Plenty())
		return err
	}
	calls["Pending"] = func(ctx context.Context, s persistence.Store) error { _, err := s.Pending(ctx, "w"); return err }
	calls["Depth"] = func(ctx context.Context, s persistence.Store) error { _, err := s.Depth(ctx); return err }
	calls["ListDead"] = func(ctx context.Context, s persistence.Store) error { _, err := s.ListDead(ctx, "", 1); return err }
	for name, call := range calls {
		e.Want(stabilize.ErrSchemaMissing, call(e.Ctx(), s), "%s %s", name, when)
	}
}

func mg01(e *env, d conformance.Database) {
	empty := e.schema(d)
	s := e.opened(d, true)
	e.works(s, "w")
	e.Must(s.Close(), "closing")
	first := e.schema(d)
	if first == empty {
		e.Errorf("migrating an empty database changed nothing: %q", empty)
	}
	s = e.opened(d, true)
	e.Same(first, e.schema(d), "the schema after migrating again")
	e.load(s, "w")
	e.works(s, "later")
	e.Must(s.Close(), "closing")
}

func mg02(e *env, d conformance.Database) {
	alone := e.migrate(e.unmigrated())
	for round := range e.Effort.Of(3, 1) {
		if round > 0 {
			d = e.unmigrated()
		}
		errs := kit.Race(5, func(i int) error {
			s, err := d.Open(e.Ctx(), true)
			if err != nil {
				return fmt.Errorf("migrator %d: %w", i, err)
			}
			return s.Close()
		})
		e.Must(kit.First(errs), "five migrators at once")
		e.Same(alone, e.schema(d), "the schema after five migrators, want that of one")
	}
}

func mg04(e *env, d conformance.Database) {
	whole := e.migrate(e.unmigrated())
	clear, err := d.Obstruct(e.Ctx())
	e.Must(err, "obstructing the last migration")
	fails := func() string {
		e.Helper()
		if s, err := d.Open(e.Ctx(), true); err == nil {
			_ = s.Close() // what matters is that it was opened
			e.Errorf("a migration with something in its way succeeded")
		}
		return e.schema(d)
	}
	first := fails()
	s := e.opened(d, false)
	e.missing(s, "after a migration that failed")
	e.Must(s.Close(), "closing")
	e.Same(first, fails(), "the schema after a second run that failed")
	e.Must(clear(e.Ctx()), "clearing the way")
	s = e.opened(d, true)
	e.works(s, "w")
	e.Must(s.Close(), "closing")
	e.Same(whole, e.schema(d), "the schema after a migration that failed and then finished")
}

func mg06(e *env, d conformance.Database) {
	e.migrate(d)
	e.Must(d.Newer(e.Ctx()), "making the database newer")
	newer := e.schema(d)
	for _, migrate := range []bool{true, false} {
		s, err := d.Open(e.Ctx(), migrate)
		e.Want(stabilize.ErrSchemaTooNew, err, "opening a database that is newer, migrating: %t", migrate)
		if err == nil {
			_ = s.Close() // what matters is that it was opened
		}
		e.Same(newer, e.schema(d), "the schema of a newer database after opening it")
	}
}

func mg07(e *env, d conformance.Database) {
	s := e.opened(d, false)
	e.missing(s, "on a database without schema")
	e.migrate(d)
	e.works(s, "w")
	e.Must(s.Close(), "closing")
}

func mg08(e *env, d conformance.Database) {
	empty := e.schema(d)
	s := e.opened(d, false)
	e.Same(empty, e.schema(d), "the schema after opening without migrating")
	_, err := s.Load(e.Ctx(), "w")
	e.Want(stabilize.ErrSchemaMissing, err, "loading from a database without schema")
	e.Same(empty, e.schema(d), "the schema after a call on a database without one")
	e.Must(s.Close(), "closing")
}
