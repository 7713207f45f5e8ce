package stores_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/stabilize-dev/go-stabilize/persistence/stores"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

func TestPostgresDSN(t *testing.T) {
	d, err := stores.Parse("postgres://me:p%40ss%3F@host:5433/db?schema=work&prefix=x_&connections=5&pooling=transaction&sslmode=require")
	want := stores.Address{
		Scheme: "postgres", Postgres: "postgres://me:p%40ss%3F@host:5433/db?sslmode=require",
		Schema: "work", Prefix: "x_", Connections: 5, TransactionPooling: true,
	}
	if err != nil || d != want {
		t.Errorf("got %+v, %v, want %+v", d, err, want)
	}
	for _, dsn := range []string{
		"postgres://me:secret%zz@host/db", "postgres://me:secret@host/db?connections=0", "postgres://me:secret@host/db?connections=many",
		"postgres://me:secret@host/db?pooling=swimming", "postgres://me:secret@host/db?schema=a&schema=b", "postgres://me:secret@host/db?a;b",
	} {
		_, err := stores.Parse(dsn)
		if !errors.Is(err, stabilize.ErrInvalid) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", dsn, err)
		}
	}
}
