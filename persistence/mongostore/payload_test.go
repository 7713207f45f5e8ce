//go:build unix

package mongostore_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/mongostore"
	"github.com/stabilize-dev/go-stabilize/persistence/mongostore/mongotest/mongoproxy"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// outside keeps all bodies out of the workflow's document.
func outside(cfg *mongostore.Config) { cfg.Inline = 1 }

// apart is the creation of a workflow whose header and only stage are documents of
// payloads.
func (h *harness) apart(id string) *persistence.Commit {
	return &persistence.Commit{
		WorkflowID: id, Header: &stabilize.Header{ID: id, Application: "app", Name: "apart", Status: stabilize.Running, CreatedAt: h.clock.Now()},
		Stages: []*stabilize.Stage{{ID: "stage of " + id, Ref: "s"}},
	}
}

// reads are the calls that read bodies, of the header only or of stages too.
func reads(s *mongostore.Store, id string) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"load":    func(ctx context.Context) error { _, err := s.Load(ctx, id); return err },
		"refresh": func(ctx context.Context) error { _, err := s.Refresh(ctx, id, 0); return err },
		"summary": func(ctx context.Context) error { _, err := s.Summary(ctx, id); return err },
		"query":   func(ctx context.Context) error { _, err := s.Query(ctx, persistence.Query{}); return err },
	}
}

// A body that is gone is told, by its name, and not waited for.
func TestPayloadIsGone(t *testing.T) {
	h := newHarness(t, servers.One(), outside)
	h.must(t, h.first.CommitBatch(t.Context(), []*persistence.Commit{h.apart("w")})[0])
	var doc struct {
		Header struct {
			Payload string `bson:"x"`
		}
		Stages map[string]struct {
			Payload string `bson:"x"`
		}
	}
	h.must(t, h.db.Collection("workflows").FindOne(t.Context(), bson.M{"_id": "w"}).Decode(&doc))
	var stage string
	for _, st := range doc.Stages {
		stage = st.Payload
	}
	for payload, blind := range map[string][]string{stage: {"summary", "query"}, doc.Header.Payload: nil} {
		var kept bson.Raw
		payloads := h.db.Collection("payloads")
		h.must(t, payloads.FindOneAndDelete(t.Context(), bson.M{"_id": payload}).Decode(&kept))
		for name, read := range reads(h.second, "w") {
			err := read(t.Context())
			if slices.Contains(blind, name) {
				h.must(t, err)
				continue
			}
			var corrupt *stabilize.CorruptError
			if !errors.As(err, &corrupt) || corrupt.ID != payload || !strings.HasSuffix(corrupt.Table, "payloads") {
				t.Errorf("%s without %q: %v", name, payload, err)
			}
		}
		if _, err := payloads.InsertOne(t.Context(), kept); err != nil {
			t.Fatal(err)
		}
	}
}

// A body that is replaced between a document and what it refers to is not missed.
func TestPayloadIsReplaced(t *testing.T) {
	h := newHarness(t, servers.One(), outside)
	h.must(t, h.first.CommitBatch(t.Context(), []*persistence.Commit{h.apart("w")})[0])
	version := int64(1)
	for name, read := range reads(h.first, "w") {
		var once atomic.Bool
		h.links[0].Intercept(func(c mongoproxy.Call) mongoproxy.Fault {
			if c.Name == "find" && about(c) == "payloads" && !c.Executed() && !once.Swap(true) {
				next := h.apart("w")
				next.Expect = version
				if err := h.second.CommitBatch(context.WithoutCancel(t.Context()), []*persistence.Commit{next})[0]; err != nil {
					t.Error(err)
				}
			}
			return mongoproxy.Fault{}
		})
		err := read(t.Context())
		h.links[0].Intercept(nil)
		if err != nil || !once.Load() {
			t.Errorf("%s, the payload replaced %v: %v", name, once.Load(), err)
		}
		version++
	}
}
