package stores_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/stores"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

func TestMongoDBDSN(t *testing.T) {
	for dsn, want := range map[string]stores.Address{
		"mongodb://me:p%40ss@a:1,b:2/work?replicaSet=rs&prefix=x_&concern=local&w=1": {
			Scheme: "mongodb", MongoDB: "mongodb://me:p%40ss@a:1,b:2/work?replicaSet=rs&w=1", Prefix: "x_", LocalConcern: true,
		},
		"mongodb+srv://me:secret@host/work?concern=majority": {Scheme: "mongodb", MongoDB: "mongodb+srv://me:secret@host/work"},
	} {
		if got, err := stores.Parse(dsn); err != nil || got != want {
			t.Errorf("%s: got %+v, %v, want %+v", dsn, got, err, want)
		}
	}
	for _, dsn := range []string{
		"mongodb://me:secret@host/db?prefix=a&prefix=b", "mongodb://me:secret@host/db?concern=best", "mongodb:me:secret",
		"mongodb://me:secret@/db", "mongodb://me:secret@host/", "mongodb://me:secret@host/db?prefix=A", "mongodb://me:secret@host/$db",
		"mongodb://me:secret@host/admin", "mongodb://me:sec ret:%zz@host/db?appName=%zz",
	} {
		_, err := stores.DSN(dsn)(t.Context(), persistence.Settings{})
		if !errors.Is(err, stabilize.ErrInvalid) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", dsn, err)
		}
	}
}
