package sqlstore_test

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore/pgtest"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// transientOf fails unless an error is ErrTransient because of a SQLSTATE.
func transientOf(t *testing.T, state string, err error, doing string) {
	t.Helper()
	var cause *pgconn.PgError
	if !errors.Is(err, stabilize.ErrTransient) || !errors.As(err, &cause) || cause.Code != state {
		t.Errorf("%s: %v, want ErrTransient of %s", doing, err, state)
	}
	noSecret(t, err, pgtest.Password)
}

// A server whose disk is full in the middle of a batch, whichever way it goes: nothing
// of the batch is there, the error says so, and it can be stored when there is room.
func TestPostgresFullDisk(t *testing.T) {
	for _, plain := range []bool{true, false} {
		t.Run(fmt.Sprint("plain ", plain), func(t *testing.T) {
			schema := server.Schema(t)
			s := openPostgres(t, schema)
			db := rawPostgres(t, schema)
			// The last row of the batch finds no room: the others are written before.
			run(t, db, `CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
				IF NEW.id = 'm2' THEN
					RAISE EXCEPTION 'could not extend file "base/1/2": No space left on device' USING ERRCODE = 'disk_full';
				END IF;
				RETURN NEW;
			END $$`)
			fill := func() {
				run(t, db, "CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON messages FOR EACH ROW EXECUTE FUNCTION full_disk()")
			}
			commit(t, s, creation("w0"))
			if err := s.Push(t.Context(), message("in", "w0")); err != nil {
				t.Fatal(err)
			}
			in := claim(t, s, "worker", 1)
			batch := []*persistence.Commit{
				{WorkflowID: "w0", Expect: 1, Stages: workflow("w0").Stages, Handled: []queue.Receipt{in[0].Receipt()}, Messages: []queue.Outgoing{message("m0", "w0")}},
				creation("w1"), creation("w2"),
			}
			batch[1].Messages = []queue.Outgoing{message("m1", "w1")}
			batch[2].Messages = []queue.Outgoing{message("m2", "w2")}
			if !plain {
				batch[1].Admission = &persistence.Admission{Op: persistence.TakePlace, Key: "k", Limit: 1}
			}
			fill()
			for i, err := range s.CommitBatch(t.Context(), batch) {
				transientOf(t, "53100", err, fmt.Sprint("commit ", i))
			}
			transientOf(t, "53100", s.Push(t.Context(), message("m1", ""), message("m2", "")), "pushing")
			if h, err := s.Summary(t.Context(), "w0"); err != nil || h.Version != 1 {
				t.Errorf("the workflow is at %+v, %v", h, err)
			}
			for _, id := range []string{"w1", "w2"} {
				if _, err := s.Summary(t.Context(), id); !errors.Is(err, stabilize.ErrNotFound) {
					t.Errorf("%s: %v", id, err)
				}
			}
			if depth, err := s.Depth(t.Context()); err != nil || depth.Leased != 1 || depth.Live() != 1 {
				t.Errorf("in the queue are %+v, %v", depth, err)
			}
			if held, err := s.Admissions(t.Context(), "k"); err != nil || len(held.Holding) != 0 {
				t.Errorf("places: %+v, %v", held, err)
			}
			commit(t, s, creation("small")) // what fits is stored meanwhile
			run(t, db, "DROP TRIGGER full_disk ON messages")
			commit(t, s, batch...)

			// A claim that cannot be written hands out nothing.
			fill()
			_, err := s.Claim(t.Context(), queue.Worker{ID: "other", TTL: 1e9}, queue.Room{Control: 9})
			transientOf(t, "53100", err, "claiming")
			run(t, db, "DROP TRIGGER full_disk ON messages")
			if got := claim(t, s, "other", 9); len(got) != 3 || got[0].Attempts != 1 {
				t.Errorf("claimed %+v", got)
			}
		})
	}
}

// A user that loses a right while the store is open may be given it back.
func TestPostgresLosesPrivilege(t *testing.T) {
	const secret = "tr0ub4dor&3"
	admin := rawPostgres(t, "public")
	role := newRole(t, admin, secret)
	schema := server.Schema(t)
	if err := openPostgres(t, schema).Close(); err != nil {
		t.Fatal(err)
	}
	run(t, admin, "GRANT USAGE ON SCHEMA "+schema+" TO "+role)
	run(t, admin, "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA "+schema+" TO "+role)
	run(t, admin, "GRANT USAGE ON ALL SEQUENCES IN SCHEMA "+schema+" TO "+role)
	s := openPostgres(t, schema, func(c *sqlstore.Config) {
		u := server.URL(t)
		u.User = url.UserPassword(role, secret)
		c.DSN = u.String()
	})
	commit(t, s, creation("w"))
	run(t, admin, "REVOKE ALL ON ALL TABLES IN SCHEMA "+schema+" FROM "+role)
	for name, err := range callAll(t.Context(), s) {
		transientOf(t, "42501", err, name)
		noSecret(t, err, secret)
		if err != nil && !strings.Contains(err.Error(), "permission denied") {
			t.Errorf("%s does not say why: %v", name, err)
		}
	}
	run(t, admin, "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA "+schema+" TO "+role)
	commit(t, s, creation("v"))
}
