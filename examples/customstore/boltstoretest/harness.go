package boltstoretest

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/examples/customstore/boltstore"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Harness is a fresh file with two handles on it.
type Harness struct {
	t             *testing.T
	path          string
	clock         *stabilize.ManualClock
	db            *boltstore.DB
	first, second *boltstore.Store
}

// New makes a harness that ends with its test.
func New(t *testing.T) conformance.Harness {
	h := &Harness{
		t: t, path: filepath.Join(t.TempDir(), "store.db"),
		clock: stabilize.NewManualClock(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)),
	}
	h.open()
	t.Cleanup(h.close)
	return h
}

func (h *Harness) open() {
	db, err := boltstore.Open(h.path, &bbolt.Options{NoSync: true, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		h.t.Fatal(err)
	}
	h.db = db
	h.first, h.second = h.handle(), h.handle()
}

func (h *Harness) handle() *boltstore.Store {
	return boltstore.New(h.db, boltstore.Config{Clock: h.clock})
}

// close may be called when a clause has closed the handles already.
func (h *Harness) close() {
	_ = h.first.Close()
	_ = h.second.Close()
	if err := h.db.Close(); err != nil {
		h.t.Error(err)
	}
}

// Store implements conformance.Harness.
func (h *Harness) Store() persistence.Store { return h.first }

// Second implements conformance.Harness.
func (h *Harness) Second() persistence.Store { return h.second }

// Clock implements conformance.Harness.
func (h *Harness) Clock() *stabilize.ManualClock { return h.clock }

// Reopen implements conformance.Harness.
func (h *Harness) Reopen() persistence.Store {
	h.close()
	h.open()
	return h.first
}

// Open implements patterns.Opener: the processes of a pattern have handles of
// their own.
func (h *Harness) Open() persistence.Store { return h.handle() }

// Lacks implements conformance.Lacking: in an embedded store there are no round
// trips to count and no plans to explain, and this one keeps no events and looks at
// one workflow at a time.
func (h *Harness) Lacks() []conformance.Power {
	return append(conformance.DatabasePowers(), conformance.CanCountQueries, conformance.CanExplain, conformance.CanWatch,
		conformance.CanLogEvents, conformance.CanTamperEvents, conformance.CanBreakEvents)
}

// MaxPayload implements conformance.Limiter.
func (h *Harness) MaxPayload() int64 { return h.first.MaxPayload() }

// InUse implements conformance.OpenCounter.
func (h *Harness) InUse(context.Context) (map[string]int, error) {
	return map[string]int{"read transactions": h.db.Bolt().Stats().OpenTxN}, nil
}

// Rows implements conformance.RowCounter: the keys of every bucket there is, but
// worker leases, which are of no workflow.
func (h *Harness) Rows(context.Context) (map[string]int, error) {
	rows := map[string]int{}
	err := h.db.Bolt().View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
			if string(name) != "workers" {
				rows[string(name)] = b.Stats().KeyN
			}
			return nil
		})
	})
	return rows, err
}

// Tamper implements conformance.Tamperer.
func (h *Harness) Tamper(_ context.Context, table, id string, body []byte) error {
	return h.db.Bolt().Update(func(tx *bbolt.Tx) error {
		switch table {
		case conformance.TableWorkflows:
			return tx.Bucket([]byte("headers")).Put([]byte(id), body)
		case conformance.TableStages:
			return edit(tx.Bucket([]byte("stages")), func(k, v []byte) []byte {
				if !bytes.HasSuffix(k, []byte("\x00"+id+"\x00")) {
					return v
				}
				return append(bytes.Clone(v[:8]), body...) // behind the version
			})
		case conformance.TableMessages:
			return field(tx.Bucket([]byte("messages")), id, "Body", body)
		}
		return fmt.Errorf("there is no table %q", table)
	})
}

// SetVersion implements conformance.VersionSetter.
func (h *Harness) SetVersion(_ context.Context, id string, version int64) error {
	return h.db.Bolt().Update(func(tx *bbolt.Tx) error {
		err := edit(tx.Bucket([]byte("stages")), func(k, v []byte) []byte {
			if !bytes.HasPrefix(k, []byte(id+"\x00")) {
				return v
			}
			return append(binary.BigEndian.AppendUint64(nil, uint64(version)^1<<63), v[8:]...)
		})
		if err != nil {
			return err
		}
		return field(tx.Bucket([]byte("workflows")), id, "Version", version)
	})
}

// edit changes the values of a bucket.
func edit(b *bbolt.Bucket, change func(k, v []byte) []byte) error {
	values := map[string][]byte{}
	err := b.ForEach(func(k, v []byte) error {
		values[string(k)] = bytes.Clone(change(k, v))
		return nil
	})
	if err != nil {
		return err
	}
	for k, v := range values {
		if err := b.Put([]byte(k), v); err != nil {
			return err
		}
	}
	return nil
}

// field sets a field of a value that is a JSON object.
func field(b *bbolt.Bucket, id, name string, value any) error {
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(b.Get([]byte(id)), &fields); err != nil {
		return fmt.Errorf("%q: %w", id, err)
	}
	var err error
	if fields[name], err = json.Marshal(value); err != nil {
		return err
	}
	body, err := json.Marshal(fields)
	if err != nil {
		return err
	}
	return b.Put([]byte(id), body)
}
