package sqlstore

import (
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// batch is the work of one transaction. Under the write lock nothing else
// changes, so what the commits depend on is read once, for all of them, and
// kept up to date here. A commit is checked first and written after; what only
// writing can find out (a stage that became another) dooms the transaction,
// which is then done again without that commit.
type batch struct {
	tx  *wtx
	now int64

	workflows map[string]*version
	known     map[string]stored // messages handled or added under a given id
	reused    []string          // ids added that may have died since they were read
	fences    map[string]fence

	// What is to be written for the commits checked so far, see flush.
	bumps  []any
	stages []any
	putBy  []*change // for each row of stages
	drops  []any
	adds   []any
	events []any
	flight int // raised by flush

	applied   int
	claimable bool
	doomed    bool
}

type version struct {
	flight  int // in which a bump is to be written
	number  int64
	created sql.NullInt64
	status  string
}

// stored is a message id in use; a dead letter's has no lease.
type stored struct {
	lease  string
	dead   bool
	flight int // in which it is to be written, if it was added here
}

type fence struct {
	number int64
	live   bool
}

func newBatch(tx *wtx, now time.Time) *batch {
	return &batch{
		tx: tx, now: micros(now),
		flight: 1, workflows: map[string]*version{}, known: map[string]stored{}, fences: map[string]fence{},
	}
}

// run applies each change and sets its err. The error returned is the database's.
func (b *batch) run(work []change) error {
	var workflows, messages []string
	for i := range work {
		ch := &work[i]
		if ch.refused {
			continue
		}
		ch.err = nil
		if ch.WorkflowID != "" {
			workflows = append(workflows, ch.WorkflowID)
		}
		for _, r := range ch.Handled {
			messages = append(messages, r.ID)
		}
		for j := range ch.enc.Messages {
			if ch.enc.Messages[j].Given {
				messages = append(messages, ch.enc.Messages[j].ID)
			}
		}
	}
	if err := b.lockOthers(work); err != nil {
		return err
	}
	if err := b.readVersions(workflows); err != nil {
		return err
	}
	if err := b.readMessages(messages); err != nil {
		return err
	}
	for i := range work {
		ch := &work[i]
		if ch.refused {
			continue
		}
		err := b.apply(ch)
		if err != nil && !persistence.Classified(err) {
			return err
		}
		if ch.err = err; err == nil {
			b.applied++
		}
	}
	if err := b.flush(); err != nil {
		return err
	}
	return b.checkReused()
}

// mayDie reports that a message of that id may have died since it was looked for: the
// ids of what is born leased are made by engines, and nobody else has them.
func (ch *change) mayDie(m *queue.Encoded) bool {
	return m.Given && (m.Lease == nil || ch.Frees(m.ID))
}

// checkReused fails, for all to be done anew, if an id that was added is that of a dead
// letter: a claim in PostgreSQL may have buried the message, and not yet have been
// seen, when the ids were read.
func (b *batch) checkReused() error {
	if b.tx.pg == nil || len(b.reused) == 0 {
		return nil
	}
	_, err := b.tx.exec(stBuried, b.reused)
	return err
}

func (b *batch) readVersions(ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	rows, err := b.tx.query(stVersions, b.tx.pg.list(ids))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		var v version
		if err := rows.Scan(&id, &v.number, &v.created, &v.status); err != nil {
			return err
		}
		b.workflows[id] = &v
	}
	return rows.Err()
}

func (b *batch) readMessages(ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	rows, err := b.tx.query(stKnownMessages, b.tx.pg.list(ids))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		var lease sql.NullString
		var dead bool
		if err := rows.Scan(&id, &lease, &dead); err != nil {
			return err
		}
		b.known[id] = stored{lease: lease.String, dead: dead}
	}
	return rows.Err()
}

func jsonList(texts []string) string {
	list, _ := json.Marshal(texts) // text always can be
	return string(list)
}

// apply checks a commit and writes it.
func (b *batch) apply(ch *change) error {
	w := b.workflows[ch.WorkflowID] // nil: it does not exist, or the commit names none
	if ch.WorkflowID != "" {
		if err := checkVersion(ch, w); err != nil {
			return err
		}
	}
	if err := b.checkMessages(ch); err != nil {
		return err
	}
	seat, err := b.judge(ch, w)
	if err != nil {
		return err
	}

	for _, r := range ch.Handled {
		if err := b.drop(r.ID); err != nil {
			return err
		}
	}
	for _, id := range ch.Discard {
		if err := b.drop(id); err != nil {
			return err
		}
	}
	if ch.WorkflowID != "" {
		if err := b.admit(ch, seat); err != nil { // before the header: statuses are those before the commit
			return err
		}
		if err := b.writeWorkflow(ch, w); err != nil {
			return err
		}
	}
	for i := range ch.enc.Messages {
		if m := &ch.enc.Messages[i]; ch.mayDie(m) {
			b.reused = append(b.reused, m.ID)
		}
	}
	return b.addMessages(ch.enc.Messages)
}

func checkVersion(ch *change, w *version) error {
	if w == nil {
		return ch.CheckVersion(0, time.Time{})
	}
	var created time.Time
	if w.created.Valid {
		created = fromMicros(w.created.Int64)
	}
	return ch.CheckVersion(w.number, created)
}

func createdMoved(ch *change) error {
	return stabilize.Invalid("workflow created at", "of %q cannot change to %s", ch.WorkflowID, ch.Header.CreatedAt)
}

func notRemoved(ch *change, id string) error {
	return stabilize.Invalid("commit removed", "workflow %q has no stage %q", ch.WorkflowID, id)
}

func (b *batch) checkMessages(ch *change) error {
	for _, r := range ch.Handled {
		if m := b.known[r.ID]; m.lease != r.Token {
			return &stabilize.LeaseLostError{Kind: "message", ID: r.ID}
		}
	}
	for i := range ch.enc.Messages {
		m := &ch.enc.Messages[i]
		if known, used := b.known[m.ID]; used && m.Given && (known.dead || !ch.Frees(m.ID)) {
			return &stabilize.ExistsError{Kind: "message", ID: m.ID}
		}
	}
	return nil
}

func (b *batch) drop(id string) error {
	known := b.known[id]
	if known.dead {
		return nil
	}
	if known.flight == b.flight {
		if err := b.flush(); err != nil {
			return err
		}
	}
	delete(b.known, id)
	b.drops = append(b.drops, id)
	return nil
}

func (b *batch) writeWorkflow(ch *change, w *version) error {
	if w == nil {
		return b.create(ch)
	}
	if w.flight == b.flight || len(ch.Removed) > 0 {
		if err := b.flush(); err != nil {
			return err
		}
	}
	w.number = ch.Expect + 1
	if len(ch.Removed) == 0 {
		w.flight, b.bumps = b.flight, append(b.bumps, ch.WorkflowID)
	} else if _, err := b.tx.exec(stBumpRemoved, w.number, ch.WorkflowID); err != nil {
		return err
	}
	if h := ch.Header; h != nil {
		w.status = h.Status.String()
		if _, err := b.tx.exec(stUpdateWorkflow, h.Application, h.ConfigID, w.status, persistence.PlaceOf(h).Start, h.ID); err != nil {
			return err
		}
		if _, err := b.tx.exec(stUpdateHeader, ch.enc.Header, h.ID); err != nil {
			return err
		}
	}
	for _, id := range ch.Removed {
		n, err := b.tx.change(stRemoveStage, ch.WorkflowID, id)
		if err != nil {
			return err
		}
		if n == 0 {
			err := notRemoved(ch, id)
			b.refuse(ch, err)
			return err
		}
	}
	b.putStages(ch)
	b.addEvents(ch)
	return nil
}

func (b *batch) create(ch *change) error {
	h := ch.Header
	w := &version{number: 1, created: maybeMicros(h.CreatedAt), status: h.Status.String()}
	_, err := b.tx.exec(stCreateWorkflow, h.ID, h.Application, h.ConfigID, w.status, persistence.PlaceOf(h).Start, w.created)
	if err != nil {
		return err
	}
	if _, err := b.tx.exec(stCreateHeader, h.ID, ch.enc.Header); err != nil {
		return err
	}
	b.workflows[h.ID] = w
	b.putStages(ch)
	b.addEvents(ch)
	return nil
}

func (b *batch) addEvents(ch *change) {
	for _, e := range ch.enc.Events {
		b.events = append(b.events, ch.WorkflowID, ch.Expect+1, e.First, e.Count, e.Body)
	}
}

func (b *batch) putStages(ch *change) {
	for i, st := range ch.Stages {
		b.stages = append(b.stages, ch.WorkflowID, st.ID, ch.Expect+1, st.Ref, st.Round, st.Position, ch.enc.Stages[i])
		b.putBy = append(b.putBy, ch)
	}
}

// refuse refuses a commit of which something was written already.
func (b *batch) refuse(ch *change, err error) {
	ch.err, ch.refused, b.doomed = err, true, true
}

func (b *batch) addMessages(msgs []queue.Encoded) error {
	for i := range msgs {
		if err := b.addMessage(&msgs[i]); err != nil {
			return err
		}
	}
	return nil
}

func (b *batch) addMessage(m *queue.Encoded) error {
	due := micros(queue.DueAt(m.At, fromMicros(b.now)))
	var worker sql.NullInt64
	var lease sql.NullString
	attempts := 0
	if m.Lease != nil {
		f, err := b.fence(m.Lease.Worker)
		if err != nil {
			return err
		}
		if f.live {
			worker = sql.NullInt64{Int64: f.number, Valid: true}
			lease = sql.NullString{String: m.Lease.Token, Valid: true}
			attempts = 1
		}
	}
	b.adds = append(b.adds, m.ID, m.Kind, int64(m.Lane), m.WorkflowID, due, b.now, worker, lease, attempts, m.MaxAttempts, m.Body)
	b.known[m.ID] = stored{lease: lease.String, flight: b.flight}
	b.claimable = b.claimable || !worker.Valid && due <= b.now
	return nil
}

// fence returns the fence of a worker that holds its lease.
func (b *batch) fence(worker string) (fence, error) {
	f, ok := b.fences[worker]
	if ok {
		return f, nil
	}
	switch err := b.tx.row(stLiveWorker, worker, b.now).Scan(&f.number); {
	case err == nil:
		f.live = true
	case !errors.Is(err, sql.ErrNoRows):
		return f, err
	}
	b.fences[worker] = f
	return f, nil
}
