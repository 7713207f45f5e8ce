package boltstore

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"iter"
	"time"

	"go.etcd.io/bbolt"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// buckets are what a file holds:
//
//	bucket     key                                    value
//	workflows  id                                     row
//	headers    id                                     Encoded.Header
//	stages     workflow, stage                        version, Encoded.Stages[i]
//	listing    start, id, all bits flipped            id         in the order of a query
//	messages   id                                     message, dead letters too
//	owned      workflow (may be empty), live or dead, due, seq
//	                                                  id         Pending, Delete
//	ready      lane or spent, due, seq                id         nobody holds them
//	held       worker, seq                            id
//	dead       died, seq                              id
//	workers    id                                     worker
//	places     admission key, holding or waiting, seq place      first in, first out
//	placed     workflow, admission key                key in places
func buckets() []string {
	return []string{"workflows", "headers", "stages", "listing", "messages", "owned", "ready", "held", "dead", "workers", "places", "placed"}
}

// txn is a transaction. What goes wrong in it is remembered, and run rolls back;
// so the code above needs no error after each line.
type txn struct {
	tx    *bbolt.Tx
	now   time.Time // of the store's clock, cut as stored times are
	err   error     // the first, of one class
	wrote bool
	wake  bool // something became claimable
}

func (t *txn) keep(doing string, err error) {
	if err != nil && t.err == nil {
		t.err = failure(stabilize.ErrInternal, doing, err)
	}
}

func (t *txn) bucket(name string) *bbolt.Bucket { return t.tx.Bucket([]byte(name)) }

// get returns nil if the key is absent. The value must not be changed, and is
// valid until the bucket is.
func (t *txn) get(bucket string, key []byte) []byte { return t.bucket(bucket).Get(key) }

func (t *txn) put(bucket string, key, value []byte) {
	t.wrote = true
	t.keep("put", t.bucket(bucket).Put(key, value))
}

func (t *txn) del(bucket string, key []byte) {
	t.wrote = true
	t.keep("delete", t.bucket(bucket).Delete(key))
}

// next counts up, durably, from 1.
func (t *txn) next(bucket string) int64 {
	t.wrote = true
	n, err := t.bucket(bucket).NextSequence()
	t.keep("count", err)
	return int64(n)
}

// list walks copies of what begins with a prefix, ascending, from behind a key if
// that is not nil. The bucket may be changed on the way.
func (t *txn) list(bucket string, prefix, after []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(k, v []byte) bool) {
		c := t.bucket(bucket).Cursor()
		k, v := c.Seek(prefix)
		for {
			if after != nil {
				if k, v = c.Seek(after); bytes.Equal(k, after) {
					k, v = c.Next()
				}
			}
			if k == nil || !bytes.HasPrefix(k, prefix) {
				return
			}
			after = bytes.Clone(k)
			if !yield(after, bytes.Clone(v)) {
				return
			}
		}
	}
}

// key joins parts: text ends with a NUL, which no id holds; numbers are ordered.
func key(parts ...any) []byte {
	var k []byte
	for _, p := range parts {
		switch p := p.(type) {
		case string:
			k = append(append(k, p...), 0)
		case int64:
			k = binary.BigEndian.AppendUint64(k, uint64(p)^1<<63)
		case byte:
			k = append(k, p)
		}
	}
	return k
}

// number reads the int64 at the beginning of a key.
func number(k []byte) int64 { return int64(binary.BigEndian.Uint64(k) ^ 1<<63) }

// text reads the text at the beginning of a key.
func text(k []byte) string { return string(k[:bytes.IndexByte(k, 0)]) }

func read[V any](t *txn, bucket string, key []byte) (v V, found bool) {
	raw := t.get(bucket, key)
	if raw == nil {
		return v, false
	}
	if err := json.Unmarshal(raw, &v); err != nil && t.err == nil {
		t.err = &stabilize.CorruptError{Table: bucket, ID: string(key), Cause: err}
	}
	return v, true
}

func write(t *txn, bucket string, key []byte, v any) {
	raw, err := json.Marshal(v)
	t.keep("encode", err)
	t.put(bucket, key, raw)
}
