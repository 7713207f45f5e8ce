package boltstore_test

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"

	"github.com/stabilize-dev/go-stabilize/conformance/certify"
	"github.com/stabilize-dev/go-stabilize/examples/customstore/boltstore"
	"github.com/stabilize-dev/go-stabilize/examples/customstore/boltstoretest"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// TestContract is everything that is promised of a store, in seconds.
func TestContract(t *testing.T) {
	certify.Run(t, boltstoretest.New)
}

// A file has one process at a time: the second is told so and does not wait.
func TestAFileInUseIsNotOpened(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	db, err := boltstore.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := boltstore.Open(path, &bbolt.Options{Timeout: 1}); !errors.Is(err, bbolterrors.ErrTimeout) {
		t.Errorf("opening it twice: %v", err)
	}
}

func TestAHandleOnAClosedFileIsClosed(t *testing.T) {
	db, err := boltstore.Open(filepath.Join(t.TempDir(), "store.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	store := boltstore.New(db, boltstore.Config{})
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Load(t.Context(), "w"); !errors.Is(err, stabilize.ErrClosed) {
		t.Errorf("reading: %v", err)
	}
	if err := store.Close(); err != nil {
		t.Error(err)
	}
}

// What cannot be read is never taken for what is not there.
func TestARecordThatCannotBeReadIsCorrupt(t *testing.T) {
	db, err := boltstore.Open(filepath.Join(t.TempDir(), "store.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	store := boltstore.New(db, boltstore.Config{})
	defer store.Close()
	err = db.Bolt().Update(func(tx *bbolt.Tx) error { return tx.Bucket([]byte("workflows")).Put([]byte("w"), []byte("?")) })
	if err != nil {
		t.Fatal(err)
	}
	_, loading := store.Load(t.Context(), "w")
	header := &stabilize.Header{ID: "w", Application: "a", CreatedAt: time.Unix(1, 0)}
	creating := store.CommitBatch(t.Context(), []*persistence.Commit{{WorkflowID: "w", Header: header}})[0]
	for doing, err := range map[string]error{"loading": loading, "creating": creating} {
		var corrupt *stabilize.CorruptError
		if !errors.As(err, &corrupt) || corrupt.Table != "workflows" || corrupt.ID != "w" {
			t.Errorf("%s: %v", doing, err)
		}
	}
}
