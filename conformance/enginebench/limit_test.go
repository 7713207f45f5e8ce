package enginebench

import (
	"database/sql"
	"errors"
	"path/filepath"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/mongostore/mongotest"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Both limits do the same steps, single and grouped in turn, and end with every
// workflow's version raised once per step.
func TestLimitsDoEveryStep(t *testing.T) {
	const single, grouped = 250, 2*rawGroup + 30
	const steps = 2*single + grouped
	memory := newMemoryLimit()
	sqlite, err := openSQLiteLimit(t.Context(), filepath.Join(t.TempDir(), "a b%?.db"), "full")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []limit{memory, sqlite} {
		for _, part := range [][2]int{{single, 1}, {grouped, rawGroup}, {single, 1}} {
			if err := l.steps(t.Context(), part[0], part[1]); err != nil {
				t.Fatal(err)
			}
		}
	}
	var versions, messages int
	for _, w := range memory.work.workflows {
		h, err := memory.store.Summary(t.Context(), w.ID)
		if err != nil {
			t.Fatal(err)
		}
		versions += int(h.Version) - 1
	}
	if versions != steps {
		t.Errorf("memory: the versions rose by %d, want %d", versions, steps)
	}
	conn := sqlite.(*sqliteLimit).conn
	if err := conn.QueryRowContext(t.Context(), "SELECT sum(version - 1), (SELECT count(*) FROM messages) FROM workflows").Scan(&versions, &messages); err != nil {
		t.Fatal(err)
	}
	if versions != steps || messages != rawGroup {
		t.Errorf("SQLite: the versions rose by %d, want %d; %d messages, want %d", versions, steps, messages, rawGroup)
	}
	var mode string
	var sync int
	for pragma, to := range map[string]any{"journal_mode": &mode, "synchronous": &sync} {
		if err := conn.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(to); err != nil {
			t.Fatal(err)
		}
	}
	if mode != "wal" || sync != 2 {
		t.Errorf("journal mode %s, synchronous %d; want wal, 2", mode, sync)
	}
	for _, l := range []limit{memory, sqlite} {
		if err := l.close(); err != nil {
			t.Error(err)
		}
	}
}

// In PostgreSQL the steps of one connection, single and grouped, and those of the crowd
// are all done, each commit on its own, whatever their number.
func TestPostgresLimitsDoEveryStep(t *testing.T) {
	db, err := sql.Open("pgx", postgresDSN(t))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	l, err := openPostgresLimit(t.Context(), db, "enginebench_limit_test")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.close(); err != nil {
			t.Error(err)
		}
		if n := db.Stats().InUse; n != 0 {
			t.Errorf("%d connections are in use", n)
		}
		_, _ = db.ExecContext(t.Context(), "DROP SCHEMA enginebench_limit_test CASCADE")
	}()
	const alone, crowded = 230, 477
	for range 2 {
		for _, size := range []int{1, rawGroup} {
			if err := l.steps(t.Context(), alone, size); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.(crowd).single(t.Context(), crowded); err != nil {
			t.Fatal(err)
		}
	}
	var versions, commits, messages int
	if err := db.QueryRowContext(t.Context(), `SELECT sum(version - 1), count(DISTINCT xmin::text), (SELECT count(*) FROM enginebench_limit_test.messages) FROM enginebench_limit_test.workflows`).
		Scan(&versions, &commits, &messages); err != nil {
		t.Fatal(err)
	}
	if want := 2 * (2*alone + crowded); versions != want || messages != 2*rawGroup {
		t.Errorf("the versions rose by %d, want %d; %d messages, want %d", versions, want, messages, 2*rawGroup)
	}
	if commits <= rawGroup { // a workflow of the crowd was last changed by a transaction of its own
		t.Errorf("%d workflows were last changed by %d transactions", 2*rawGroup, commits)
	}
	if n := len(l.(*postgresLimit).crowd); n != rawConnections {
		t.Errorf("the crowd has %d connections, want %d", n, rawConnections)
	}
}

// In MongoDB too.
func TestMongoLimitsDoEveryStep(t *testing.T) {
	servers := &mongotest.Servers{}
	t.Cleanup(servers.Stop)
	server := servers.One()
	coll := server.Client(t).Database(server.Database(t)).Collection("raw")
	l, err := openMongoLimit(t.Context(), coll)
	if err != nil {
		t.Fatal(err)
	}
	const alone, grouped, crowded = 3, rawStatements + 2, 11
	if err := errors.Join(l.steps(t.Context(), alone, 1), l.steps(t.Context(), grouped, grouped), l.(crowd).single(t.Context(), crowded)); err != nil {
		t.Fatal(err)
	}
	rose := 0
	for _, name := range []string{"raw", "raw_crowd"} {
		cursor, err := coll.Database().Collection(name).Find(t.Context(), bson.D{})
		if err != nil {
			t.Fatal(err)
		}
		var docs []struct{ Version int }
		if err := cursor.All(t.Context(), &docs); err != nil {
			t.Fatal(err)
		}
		for _, doc := range docs {
			rose += doc.Version - 1
		}
	}
	if want := alone + grouped + crowded; rose != want {
		t.Errorf("the versions rose by %d, want %d", rose, want)
	}
	// A version that is not as it was is an error.
	if _, err := coll.UpdateMany(t.Context(), bson.D{}, bson.D{{Key: "$set", Value: bson.D{{Key: "version", Value: int64(0)}}}}); err != nil {
		t.Fatal(err)
	}
	if err := l.steps(t.Context(), 1, 1); !errors.Is(err, stabilize.ErrInternal) {
		t.Errorf("a step that changed nothing: %v", err)
	}
}

func TestRawStagesAreOfTheSizeTheySay(t *testing.T) {
	body, err := persistence.EncodeStage(rawWorkflows(stabilize.SystemClock{}.Now())[0].Stages[1])
	if err != nil || len(body) < rawStageSize*9/10 || len(body) > rawStageSize*11/10 {
		t.Errorf("a stage has %d bytes, %v; want about %d", len(body), err, rawStageSize)
	}
}
