package sqlstore_test

import (
	"testing"

	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore/pgtest"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Several processes on one server, one of them killed under load, then the server
// itself crashes and comes back: every message is counted exactly once, and what a
// process was told is durable is.
func TestPostgresProcesses(t *testing.T) {
	own := &pgtest.Server{Local: true} // it crashes
	t.Cleanup(own.Stop)
	schema := own.Schema(t)
	s := openPostgresOn(t, own, schema, onClock(stabilize.SystemClock{}))
	countTogether(t, s, []string{childDSN + "=" + own.DSN(t), childSchema + "=" + schema}, 1500, func() {
		if err := own.Kill(); err != nil {
			t.Error(err)
		}
		if err := own.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Depth(t.Context()); err != nil {
			t.Errorf("the handle after a restart: %v", err)
		}
	})
}
