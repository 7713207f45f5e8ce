package mongostore

import (
	"context"
	"errors"
	"slices"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// work is a commit on its way.
type work struct {
	c    *persistence.Commit
	enc  *persistence.Encoded
	slot int
	err  error // what became of it

	doc  *aggregate // the workflow's; nil: not known, or of none
	look bool       // the document must be read before anything is concluded
	// alone: no other is tried with it; apart: none is to be.
	alone, apart bool

	attempt
}

// attempt is what one try of a commit has prepared.
type attempt struct {
	mark     mark // of what it has marked; its Tx is the attempt's token
	state    state
	births   []*message
	drops    []drop
	admit    *admitted
	payloads []payload
	stored   bool // some of them may be there
	events   []eventRow
	blocked  []mark    // commits that stand in the way
	direct   bool      // one document and no workflow: no primary is needed
	stub     bool      // a document was made to be its primary
	placed   bool      // something has its mark
	change   aggregate // what the workflow is like afterwards; its stages are those that change
	stale    []string  // payloads that it replaces
}

type state uint8

const (
	going state = iota
	again       // something stands in the way, or was not as remembered
	over        // err tells
)

// drop is a message that a commit removes.
type drop struct {
	id    string
	token string   // "": whoever holds it
	next  *message // takes its place
}

func (w *work) fail(err error) { w.err, w.state = err, over }

// refuse is fail with what the server will say again. If others were tried with it, it
// may be about one of them: then it is tried alone.
func (w *work) refuse(err error) {
	if w.alone {
		w.fail(err)
		return
	}
	w.look, w.apart, w.state = true, true, again
}

func (w *work) names() bool { return w.c.WorkflowID != "" }

// CommitBatch implements persistence.WorkflowStore. Each commit is atomic by one
// update of one document; see doc.go. Commits that touch nothing in common travel
// together.
func (s *Store) CommitBatch(ctx context.Context, commits []*persistence.Commit) []error {
	if len(commits) == 0 {
		return nil
	}
	errs := make([]error, len(commits))
	call, leave, err := s.enter(ctx)
	if err != nil {
		for i := range errs {
			errs[i] = err
		}
		return errs
	}
	defer leave()
	works := make([]*work, 0, len(commits))
	for i, c := range commits {
		w := &work{c: c, slot: i}
		if w.enc, errs[i] = c.Encode(s.cfg.IDs, s.cfg.MaxPayload); errs[i] == nil {
			works = append(works, w)
		}
	}
	for _, wave := range waves(works) {
		s.commitWave(call, wave)
	}
	claimable := false
	now := micros(s.now())
	for _, w := range works {
		if errs[w.slot] = s.classify(ctx, "commit", w.err); w.err != nil {
			continue
		}
		for _, m := range w.births {
			claimable = claimable || m.Worker == "" && m.Due <= now
		}
		for _, dr := range w.drops {
			claimable = claimable || dr.next != nil && dr.next.Worker == "" && dr.next.Due <= now
		}
	}
	s.ping(claimable)
	return errs
}

// waves parts a batch so that commits of one wave touch nothing in common, and one
// that depends on another comes after it. Who takes a place depends on the statuses
// of all, so it goes alone.
func waves(works []*work) [][]*work {
	if len(works) == 1 {
		return [][]*work{works}
	}
	var out [][]*work
	last := map[string]int{} // wave that touched it last
	floor := 0
	for _, w := range works {
		keys := w.touches()
		n := floor
		for _, k := range keys {
			if at, ok := last[k]; ok {
				n = max(n, at+1)
			}
		}
		if w.c.Admission != nil {
			n = max(n, len(out))
			floor = n + 1
		}
		for _, k := range keys {
			last[k] = n
		}
		for len(out) <= n {
			out = append(out, nil)
		}
		out[n] = append(out[n], w)
	}
	return out
}

func (w *work) touches() []string {
	var keys []string
	if w.names() {
		keys = append(keys, "w"+w.c.WorkflowID)
	}
	for _, r := range w.c.Handled {
		keys = append(keys, "m"+r.ID)
	}
	for _, id := range w.c.Discard {
		keys = append(keys, "m"+id)
	}
	for i := range w.enc.Messages {
		if w.enc.Messages[i].Given {
			keys = append(keys, "m"+w.enc.Messages[i].ID)
		}
	}
	return keys
}

// commitWave applies commits that have nothing in common, trying again those that
// met others' commits.
func (s *Store) commitWave(ctx context.Context, works []*work) {
	for _, w := range works {
		if a := w.c.Admission; a != nil {
			unlock, err := s.keys.lock(ctx, a.Key)
			if err != nil {
				w.fail(err)
				return // it goes alone
			}
			defer unlock()
		}
		if w.names() {
			w.doc = s.known.take(w.c.WorkflowID)
		}
	}
	p, tries := s.patience(), 0
	for todo := works; len(todo) > 0; {
		for _, some := range together(todo) {
			s.try(ctx, some)
		}
		var blocked []mark
		var rest []*work
		for _, w := range todo {
			if w.state == again {
				blocked = append(blocked, w.blocked...)
				rest = append(rest, w)
			}
		}
		todo = rest
		if len(todo) == 0 {
			break
		}
		err := s.clear(ctx, blocked, p)
		if err == nil && len(blocked) == 0 && tries > 0 {
			err = p.wait(ctx)
		}
		tries++
		if err == nil && p.spent() {
			err = failure(stabilize.ErrTransient, "commit", errors.New("others are at the same documents without end"))
		}
		if err != nil {
			for _, w := range todo {
				w.fail(err)
			}
			break
		}
	}
	for _, w := range works {
		if w.doc != nil && w.err == nil {
			s.known.put(w.doc)
		}
	}
}

// together parts commits by which are tried at once.
func together(works []*work) [][]*work {
	for _, w := range works {
		if w.apart {
			return slices.Collect(slices.Chunk(works, 1))
		}
	}
	return [][]*work{works}
}

// try is one try of each commit: prepare what stands in other documents, decide by
// one update of the primary, and finish.
func (s *Store) try(ctx context.Context, works []*work) {
	for _, w := range works {
		w.alone = len(works) == 1
		w.attempt = attempt{mark: mark{Tx: s.token()}}
		s.flying.begin(w.mark.Tx)
	}
	defer func() {
		for _, w := range works {
			s.flying.end(w.mark.Tx)
		}
	}()
	steps := []func(context.Context, []*work) error{
		s.read, s.plan, s.placePrimaries, s.placeMessages, s.placeAdmissions, s.placeBodies,
	}
	for _, step := range steps {
		left := still(works)
		err := ctx.Err()
		if err == nil && len(left) > 0 {
			err = step(ctx, left)
		}
		for _, w := range left {
			switch {
			case err == nil:
			case conflicted(err):
				w.look, w.state = true, again
			case refused(err):
				w.refuse(err)
			default:
				w.fail(err)
			}
		}
	}
	if left := still(works); len(left) > 0 {
		if err := ctx.Err(); err != nil {
			for _, w := range left {
				w.fail(err)
			}
		}
	}
	// From here on it goes to its end also when nobody waits any more.
	on, cancel := lasting(ctx)
	defer cancel()
	left := still(works)
	s.decide(on, left)
	var done, not []*work
	for _, w := range works {
		if w.state == going {
			done = append(done, w)
		} else {
			not = append(not, w)
		}
	}
	s.finishWorks(on, done)
	s.undoWorks(on, not)
	for _, w := range done {
		w.state = over
	}
}

func still(works []*work) (left []*work) {
	for _, w := range works {
		if w.state == going {
			left = append(left, w)
		}
	}
	return left
}

// undoWorks takes back what commits that were not done have prepared. What it
// cannot take back is undone by whoever meets it.
func (s *Store) undoWorks(ctx context.Context, works []*work) {
	var txs []string
	for _, w := range works {
		if errors.Is(w.err, stabilize.ErrUnknownOutcome) {
			continue // whoever meets it finds out
		}
		if w.placed {
			txs = append(txs, w.mark.Tx)
		}
		if w.stored {
			_, _ = s.deleteMany(ctx, s.payloads, d("_id", in(payloadIDs(w.payloads))))
		}
	}
	_ = s.undo(ctx, txs)
}
