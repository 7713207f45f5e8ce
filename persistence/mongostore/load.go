package mongostore

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// withoutBodies is all of a workflow but its header's body. The stages' cannot be
// left out: their names are not known.
func withoutBodies() bson.D { return bson.D{eq("header.b", int32(0))} }

// headerOnly is what a listing reads.
func headerOnly() bson.D { return bson.D{eq("stages", int32(0))} }

// document returns a workflow as of one instant. ErrNotFound.
func (s *Store) document(ctx context.Context, id string, projection bson.D) (*workflow, error) {
	opts := options.FindOne()
	if projection != nil {
		opts.SetProjection(projection)
	}
	doc, err := one[workflow](ctx, s.workflows, d("_id", id), opts)
	missing := &stabilize.NotFoundError{Kind: "workflow", ID: id}
	switch {
	case errors.Is(err, mongo.ErrNoDocuments):
		return nil, missing
	case err != nil:
		return nil, err
	case doc.Version == 0:
		return nil, missing
	case doc.Mark.Tx == "":
		return &doc, nil
	}
	verdicts, err := s.judge(ctx, []mark{doc.Mark})
	if err == nil && verdicts[doc.Mark.Tx] == committed {
		err = missing
	}
	return &doc, err
}

// Load implements persistence.WorkflowStore.
func (s *Store) Load(ctx context.Context, id string) (*stabilize.Workflow, error) {
	delta, err := s.refresh(ctx, id, 0, stabilize.CheckID("workflow id", id))
	if err != nil {
		return nil, err
	}
	w := &stabilize.Workflow{Header: delta.Header, Stages: delta.Stages}
	w.Index()
	return w, nil
}

// Refresh implements persistence.Refresher. It reads the whole document and decodes
// what changed.
func (s *Store) Refresh(ctx context.Context, id string, since int64) (*persistence.Delta, error) {
	return s.refresh(ctx, id, since, persistence.CheckRefresh(id, since))
}

func (s *Store) refresh(ctx context.Context, id string, since int64, bad error) (*persistence.Delta, error) {
	call, leave, err := s.enter(ctx, bad)
	if err != nil {
		return nil, err
	}
	defer leave()
	var delta *persistence.Delta
	missed := missed{}
	err = s.again(call, func() (bool, error) {
		doc, err := s.document(call, id, nil)
		if err != nil {
			return false, err
		}
		var whole bool
		delta, whole, err = s.delta(call, doc, since, missed)
		if err == nil && whole {
			if doc.Mark.Tx == "" {
				s.known.learn(doc)
			}
		}
		return whole, err
	})
	if err != nil {
		return nil, s.classify(ctx, "load", err)
	}
	return delta, nil
}

// delta decodes what changed after a version. whole is false if a body was not
// found: it was replaced after the document had been read.
func (s *Store) delta(ctx context.Context, doc *workflow, since int64, missed missed) (*persistence.Delta, bool, error) {
	out := &persistence.Delta{Whole: doc.Removed > since || since > doc.Version, Stages: []*stabilize.Stage{}}
	if out.Whole {
		since = 0
	}
	parts := []part{doc.Header}
	for _, st := range doc.Stages {
		if st.Version > since {
			parts = append(parts, st.Part)
		}
	}
	bodies, whole, err := s.bodies(ctx, parts, missed)
	if err != nil || !whole {
		return nil, false, err
	}
	h, err := persistence.DecodeHeader(doc.ID, doc.Version, bodies.of(doc.Header))
	if err != nil {
		return nil, false, err
	}
	out.Header = *h
	for f, st := range doc.Stages {
		if st.Version <= since {
			continue
		}
		decoded, err := persistence.DecodeStage(stageID(f), st.Version, bodies.of(st.Part))
		if err != nil {
			return nil, false, err
		}
		out.Stages = append(out.Stages, decoded)
	}
	slices.SortFunc(out.Stages, func(a, b *stabilize.Stage) int {
		return cmp.Or(cmp.Compare(a.Position, b.Position), cmp.Compare(a.ID, b.ID))
	})
	return out, true, nil
}

// texts are bodies of payloads, by id.
type texts map[string]string

func (t texts) of(p part) []byte {
	if p.Payload != "" {
		return []byte(t[p.Payload])
	}
	return []byte(p.Body)
}

// missed are the payloads that a call has not found after it had read who refers to
// them.
type missed map[string]bool

var errGone = errors.New("a workflow refers to it, and it is not there")

// bodies reads those that are in payloads. whole is false if some were not found: they
// may have been replaced meanwhile. One that is referred to when all is read again is
// gone, a CorruptError: it is stored before it is referred to, and removed after.
func (s *Store) bodies(ctx context.Context, parts []part, missed missed) (_ texts, whole bool, err error) {
	var ids []string
	for _, p := range parts {
		if p.Payload != "" {
			ids = append(ids, p.Payload)
		}
	}
	if len(ids) == 0 {
		return nil, true, nil
	}
	found, err := all[payload](ctx, s.payloads, d("_id", in(ids)))
	if err != nil {
		return nil, false, err
	}
	out := make(texts, len(found))
	for i := range found {
		out[found[i].ID] = found[i].Body
	}
	for _, id := range ids {
		if _, there := out[id]; there {
			continue
		}
		if missed[id] {
			return nil, false, &stabilize.CorruptError{Table: s.payloads.Name(), ID: id, Cause: errGone}
		}
		missed[id] = true
	}
	return out, len(out) == len(ids), nil
}

// mostIDs are as many as fit in a command, however long they are.
const mostIDs = 10_000

// Unfinished implements persistence.Watcher. One whose document is damaged is not found
// among them: Load says what is wrong with it.
func (s *Store) Unfinished(ctx context.Context, ids ...string) ([]string, error) {
	call, leave, err := s.enter(ctx, persistence.CheckIDs(ids))
	if err != nil {
		return nil, err
	}
	defer leave()
	if len(ids) == 0 {
		return nil, nil
	}
	var ends []string
	for _, st := range stabilize.Statuses() {
		if st.IsComplete() {
			ends = append(ends, st.String())
		}
	}
	var found []string
	for some := range slices.Chunk(slices.Compact(slices.Sorted(slices.Values(ids))), mostIDs) {
		docs, _, err := intact[marked](call, s.workflows,
			bson.D{eq("_id", in(some)), eq("version", d("$gt", int64(0))), eq("status", d("$nin", ends))},
			options.Find().SetProjection(marks()))
		if err != nil {
			return nil, s.classify(ctx, "look for ends", err)
		}
		deleting := make([]mark, len(docs))
		for i, doc := range docs {
			deleting[i] = doc.Mark
		}
		verdicts, err := s.judge(call, deleting)
		if err != nil {
			return nil, s.classify(ctx, "look for ends", err)
		}
		for _, doc := range docs {
			if doc.Mark.Tx == "" || verdicts[doc.Mark.Tx] != committed {
				found = append(found, doc.ID)
			}
		}
	}
	return found, nil
}

// Summary implements persistence.WorkflowStore.
func (s *Store) Summary(ctx context.Context, id string) (*stabilize.Header, error) {
	call, leave, err := s.enter(ctx, stabilize.CheckID("workflow id", id))
	if err != nil {
		return nil, err
	}
	defer leave()
	var h *stabilize.Header
	missed := missed{}
	err = s.again(call, func() (bool, error) {
		doc, err := s.document(call, id, headerOnly())
		if err != nil {
			return false, err
		}
		bodies, whole, err := s.bodies(call, []part{doc.Header}, missed)
		if err != nil || !whole {
			return false, err
		}
		h, err = persistence.DecodeHeader(id, doc.Version, bodies.of(doc.Header))
		return true, err
	})
	if err != nil {
		return nil, s.classify(ctx, "load a header", err)
	}
	return h, nil
}
