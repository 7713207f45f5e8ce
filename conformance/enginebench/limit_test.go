package enginebench

import (
	"path/filepath"
	"testing"

	"github.com/stabilize-dev/go-stabilize/persistence"
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

func TestRawStagesAreOfTheSizeTheySay(t *testing.T) {
	body, err := persistence.EncodeStage(rawWorkflows(stabilize.SystemClock{}.Now())[0].Stages[1])
	if err != nil || len(body) < rawStageSize*9/10 || len(body) > rawStageSize*11/10 {
		t.Errorf("a stage has %d bytes, %v; want about %d", len(body), err, rawStageSize)
	}
}
