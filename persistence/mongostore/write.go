package mongostore

import (
	"context"
	"maps"
	"slices"
	"strconv"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// What a commit writes into its workflow's document.

const (
	// recent is how many tokens of commits a document keeps at least: so long a
	// commit whose answer was lost can be told from one that was not done.
	recent = 8
	// crowded is from how many on those that are not known to be finished are.
	crowded = 24
	// dense is from how many bytes of a document on all but small bodies are kept
	// outside, so that it ends far from 16 MB.
	dense       = 8 << 20
	denseInline = 512
)

// placeBodies stores the bodies that are too large for the document, and the events.
func (s *Store) placeBodies(ctx context.Context, works []*work) error {
	if err := s.shapeAll(ctx, works); err != nil {
		return err
	}
	return eachAtOnce(
		func() error { return s.placePayloads(ctx, works) },
		func() error { return s.placeEvents(ctx, works) },
	)
}

// shapeAll makes what the commits write.
func (s *Store) shapeAll(ctx context.Context, works []*work) error {
	for _, w := range works {
		if !w.names() {
			continue
		}
		if err := s.crowded(ctx, w); err != nil {
			return err
		}
		w.remember()
		w.tellEvents()
	}
	return nil
}

func (s *Store) placePayloads(ctx context.Context, works []*work) error {
	var docs []*payload
	for _, w := range works {
		for i := range w.payloads {
			w.stored = true
			docs = append(docs, &w.payloads[i])
		}
	}
	for len(docs) > 0 {
		var some []any
		size := 0
		for _, doc := range docs {
			if size += len(doc.Body); len(some) > 0 && size > commandBytes || len(some) == commandDocs {
				break
			}
			some = append(some, doc)
		}
		if _, err := s.payloads.InsertMany(ctx, some, unordered()); err != nil {
			return err
		}
		docs = docs[len(some):]
	}
	return nil
}

// What one command inserts at most: bodies of so many bytes, or one that is larger.
const (
	commandBytes = 8 << 20
	commandDocs  = 1000
)

// crowded keeps the list of tokens from growing.
func (s *Store) crowded(ctx context.Context, w *work) error {
	if w.doc == nil || len(w.doc.txs) < crowded {
		return nil
	}
	var open []string
	for _, tx := range w.doc.txs[recent:] {
		if !w.doc.settled[tx] {
			open = append(open, tx)
		}
	}
	if err := s.finish(ctx, open); err != nil {
		return err
	}
	for _, tx := range open {
		w.doc.settled[tx] = true
	}
	return nil
}

// shape decides where each body goes, and what the aggregate is afterwards.
func (w *work) shape(inline int) {
	a := &w.change
	*a = aggregate{id: w.c.WorkflowID, rev: w.mark.Tx, version: w.c.Expect + 1, inc: w.mark.Tx, stages: map[string]keptStage{}}
	old := &aggregate{}
	if w.doc != nil && w.doc.version > 0 {
		old, a.inc, a.size = w.doc, w.doc.inc, w.doc.size
	}
	total := a.size
	for _, body := range w.enc.Stages {
		total += int64(len(body))
	}
	if total > dense {
		inline = min(inline, denseInline)
	}
	keep := func(body []byte) kept {
		k := kept{size: int64(len(body))}
		if len(body) > inline {
			k.payload = w.mark.Tx + "-" + strconv.Itoa(len(w.payloads))
			w.payloads = append(w.payloads, payload{
				ID: k.payload, Workflow: w.c.WorkflowID, Inc: a.inc, Tx: w.mark.Tx, Exp: w.mark.Exp, Body: string(body),
			})
		}
		return k
	}
	if w.c.Header != nil {
		a.header = keep(w.enc.Header)
		a.size += a.header.bytes() - old.header.bytes()
	}
	for i, st := range w.c.Stages {
		k := keptStage{ref: st.Ref, round: st.Round, position: st.Position, kept: keep(w.enc.Stages[i])}
		a.size += k.bytes(st.ID)
		if was, ok := old.stages[st.ID]; ok {
			a.size -= was.bytes(st.ID)
		}
		a.stages[st.ID] = k
	}
	for _, id := range w.c.Removed {
		was := old.stages[id]
		a.size -= was.bytes(id)
	}
	if w.doc != nil {
		a.keys = w.doc.keys
	}
	if ad := w.c.Admission; ad != nil && ad.Op != persistence.LeavePlace && !slices.Contains(a.keys, ad.Key) {
		a.keys = append(slices.Clone(a.keys), ad.Key)
	}
}

// remember decides which tokens of earlier commits the document keeps.
func (w *work) remember() {
	a := &w.change
	a.txs = []string{w.mark.Tx}
	if w.doc != nil {
		for i, tx := range w.doc.txs {
			if i < recent-1 || !w.doc.settled[tx] {
				a.txs = append(a.txs, tx)
			}
		}
	}
}

func (k kept) part(body []byte) part {
	p := part{Payload: k.payload, Size: k.size}
	if k.payload == "" {
		p.Body = string(body)
	}
	return p
}

func (w *work) stagePart(i int) stage {
	st := w.c.Stages[i]
	k := w.change.stages[st.ID]
	return stage{
		Version: w.change.version, Ref: st.Ref, Round: int64(st.Round), Position: int64(st.Position), Part: k.part(w.enc.Stages[i]),
	}
}

// document is the whole of a workflow that is created.
func (w *work) document() *workflow {
	h, a := w.c.Header, &w.change
	doc := &workflow{
		ID: w.c.WorkflowID, Rev: a.rev, Txs: a.txs, Version: a.version, Inc: a.inc,
		Created: micros(stabilize.Instant(h.CreatedAt)), App: h.Application, Config: h.ConfigID, Status: h.Status.String(),
		Start: persistence.PlaceOf(h).Start, Header: a.header.part(w.enc.Header), Stages: map[string]stage{}, Keys: orNone(a.keys),
	}
	for i, st := range w.c.Stages {
		doc.Stages[field(st.ID)] = w.stagePart(i)
	}
	return doc
}

func orNone(keys []string) []string {
	if keys == nil {
		return []string{}
	}
	return keys
}

// update is what the commit changes of a document that is there.
func (w *work) update() bson.D {
	if w.stub {
		doc := w.document()
		return set(
			eq("rev", doc.Rev), eq("txs", doc.Txs), eq("version", doc.Version), eq("inc", doc.Inc), eq("created", doc.Created),
			eq("app", doc.App), eq("config", doc.Config), eq("status", doc.Status), eq("start", doc.Start),
			eq("header", doc.Header), eq("stages", doc.Stages), eq("keys", doc.Keys), eq("removed", int64(0)),
		)
	}
	a := &w.change
	sets := bson.D{eq("rev", a.rev), eq("txs", a.txs), eq("version", a.version)}
	if h := w.c.Header; h != nil {
		sets = append(sets, eq("app", h.Application), eq("config", h.ConfigID), eq("status", h.Status.String()),
			eq("start", persistence.PlaceOf(h).Start), eq("header", a.header.part(w.enc.Header)))
	}
	for i, st := range w.c.Stages {
		sets = append(sets, eq("stages."+field(st.ID), w.stagePart(i)))
	}
	if len(a.keys) > len(w.doc.keys) {
		sets = append(sets, eq("keys", a.keys))
	}
	if len(w.c.Removed) == 0 {
		return d("$set", sets)
	}
	var unset bson.D
	for _, id := range w.c.Removed {
		unset = append(unset, eq("stages."+field(id), ""))
	}
	return bson.D{eq("$set", append(sets, eq("removed", a.version))), eq("$unset", unset)}
}

// adopt makes the aggregate what it is after the commit.
func (w *work) adopt() {
	a := &w.change
	old := w.doc
	if old == nil || old.version == 0 {
		old = &aggregate{id: a.id, stages: map[string]keptStage{}, settled: map[string]bool{}, inc: a.inc, created: stabilize.Instant(w.c.Header.CreatedAt)}
	}
	gone := func(k kept) {
		if k.payload != "" {
			w.stale = append(w.stale, k.payload)
		}
	}
	if w.c.Header != nil {
		gone(old.header)
		old.header = a.header
	}
	for id, k := range a.stages {
		if was, ok := old.stages[id]; ok {
			gone(was.kept)
		}
		old.stages[id] = k
	}
	for _, id := range w.c.Removed {
		gone(old.stages[id].kept)
		delete(old.stages, id)
	}
	old.rev, old.txs, old.version, old.keys, old.size = a.rev, a.txs, a.version, a.keys, a.size
	maps.DeleteFunc(old.settled, func(tx string, _ bool) bool { return !slices.Contains(a.txs, tx) })
	w.doc = old
}

// dropPayloads removes bodies that nothing refers to any more: those this commit
// replaced, and those of commits that were decided on the same rev and lost. Nobody
// who may still win refers to them.
func (s *Store) dropPayloads(ctx context.Context, w *work) {
	if len(w.stale) > 0 {
		_, _ = s.deleteMany(ctx, s.payloads, d("_id", in(w.stale)))
	}
	if len(w.payloads)+len(w.stale) > 0 && w.mark.Exp != "" {
		_, _ = s.deleteMany(ctx, s.payloads, bson.D{eq("inc", w.doc.inc), eq("exp", w.mark.Exp), eq("tx", d("$ne", w.mark.Tx))})
	}
}

func payloadIDs(list []payload) []string {
	ids := make([]string, len(list))
	for i, p := range list {
		ids[i] = p.ID
	}
	return ids
}
