package patterns

import (
	"path/filepath"
	"testing"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/memstore"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
)

func inMemory(testing.TB) Backend {
	d := memstore.NewData()
	return BackendFunc(func() persistence.Store { return memstore.Open(d, memstore.Config{}) })
}

func inSQLite(t testing.TB) Backend {
	path := filepath.Join(t.TempDir(), "patterns.db")
	return BackendFunc(func() persistence.Store {
		s, err := sqlstore.Open(t.Context(), sqlstore.Config{Path: path, Migrate: true, Synchronous: sqlstore.Normal})
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}

func TestMemory(t *testing.T) { Run(t, inMemory) }
func TestSQLite(t *testing.T) { Run(t, inSQLite, WithDepth(Brief)) }
