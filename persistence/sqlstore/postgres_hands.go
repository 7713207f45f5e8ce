package sqlstore

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stabilize-dev/go-stabilize/queue"
)

// A worker that is ready has an ear: the end of the name of a channel where only its
// process listens, which the connection that listens also locks. Who knows it can have the
// worker run a task; so the table of the workers shows it only to those who may store
// messages.

// hands are what the workers of a store were dealt, or told of alone, and have not claimed.
type hands struct {
	mu      sync.Mutex
	ear     string           // where this process is told; "": nowhere
	deaf    func()           // breaks the connection that listens there
	proved  bool             // something that was told there was heard
	unheard int              // echoes since then
	others  bool             // other workers were live at the last heartbeat
	of      map[string]*hand // by the stored form of the worker's id
}

// hand is the one of a worker that is ready.
type hand struct {
	left   []dealtMessage
	told   bool  // of these, or of something free, since the last claim
	stale  bool  // told, and the last heartbeat found it so already
	owes   int   // how often it was told alone of what it may not have taken
	passed int   // of these, those that a transaction under way tells everybody of
	filled bool  // the last claim left no room
	full   bool  // the last claim left no room, and none follows at once: more is not wanted
	eared  bool  // its row says that it has an ear
	since  int64 // when a claim changed that, in microseconds
}

// A connection that lets so many echoes go unheard is dealt nothing, and is broken: it may
// have been cut off without a word, or not be ours alone.
const (
	lateEchoes = 2
	lostEchoes = 4
)

// listen sets where this process is told from now on.
func (h *hands) listen(ear string, deaf func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ear, h.deaf, h.proved, h.unheard = ear, deaf, false, 0
	for _, hand := range h.of {
		hand.eared = false
	}
}

// echo returns where to tell something, for the connection to prove that it hears; "":
// nowhere.
func (h *hands) echo() (ear string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ear == "" {
		return ""
	}
	if h.unheard++; h.unheard > lostEchoes {
		h.deaf()
		h.ear = ""
	}
	return h.ear
}

// heard notes an echo, and returns the workers that are to be given an ear now.
func (h *hands) heard() (workers []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.unheard, h.proved = 0, true
	for worker, hand := range h.of {
		if !hand.eared && h.earOf(worker) != "" {
			workers = append(workers, worker)
		}
	}
	return workers
}

// earOf returns what the row of a worker is to say; mu held.
func (h *hands) earOf(worker string) string {
	// Where several workers share a store, what wakes one may be for the other.
	if hand := h.of[worker]; hand == nil || hand.full || len(h.of) > 1 || !h.proved || h.unheard > lateEchoes {
		return ""
	}
	return h.ear
}

// sit notes that a worker is ready, and reports whether it was before.
func (h *hands) sit(worker string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	its := h.of[worker]
	if its == nil {
		if h.of == nil {
			h.of = map[string]*hand{}
		}
		h.of[worker] = &hand{}
		return false
	}
	// It does not claim, whatever it is told.
	its.full = its.full || its.stale && its.told
	its.stale = its.told
	return true
}

// alone reports that a worker is ready here and, as far as known, no other is live.
func (h *hands) alone() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.of) > 0 && !h.others
}

// rise notes that a worker is not ready any more, and returns what it has not claimed, and
// whether it was told alone of something else.
func (h *hands) rise(worker string) (left []dealtMessage, owes bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if hand := h.of[worker]; hand != nil {
		left, owes = hand.left, hand.owes > 0
		delete(h.of, worker)
	}
	return left, owes
}

// take puts what a notification tells into the hand of its worker, and reports whether it
// has one here. What is told to nobody, or cannot be understood, its worker hands back as
// what is leased to it without its knowing.
func (h *hands) take(worker, told string) bool {
	list, err := dealt(told)
	if err != nil {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	hand := h.of[worker]
	if hand == nil {
		return false
	}
	hand.left, hand.told = append(hand.left, list...), true
	return true
}

// tell notes that whoever is ready here was told of something free, and nobody else.
func (h *hands) tell() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, hand := range h.of {
		hand.told = true
		hand.owes++
	}
}

// own is the ear of this process.
func (h *hands) own() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ear
}

// play takes what is in a worker's hand.
func (h *hands) play(worker string) (list []dealtMessage) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if hand := h.of[worker]; hand != nil {
		list, hand.left, hand.told, hand.stale = hand.left, nil, false, false
	}
	return list
}

// drop takes what is given back or acknowledged out of whatever hand it is in.
func (h *hands) drop(receipts ...queue.Receipt) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, hand := range h.of {
		hand.left = slices.DeleteFunc(hand.left, func(m dealtMessage) bool { return slices.Contains(receipts, m.receipt()) })
	}
}

// forgetDealt is for what is held no more.
func (s *Store) forgetDealt(receipts ...queue.Receipt) {
	if s.pg != nil {
		s.pg.hands.drop(receipts...)
	}
}

// leastEarless is for how long a worker has no ear when a claim took it.
const leastEarless = 100 * time.Millisecond

// fill notes what a claim left of the room that was asked for, and reports whether the
// worker's row has to say something else of its ear.
func (h *hands) fill(worker string, asked, left queue.Room, now int64) (changed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	hand := h.of[worker]
	if hand == nil {
		return false
	}
	// Of several places for work it asks for some only, and again at once when they are
	// filled (queue.Worker.Ready).
	hand.full = left.Control <= 0 || left.Work <= 0 && (asked.Work <= 1 || hand.filled)
	hand.filled = left.Control <= 0 || left.Work <= 0
	switch {
	case hand.full: // a batch that saw the ear may come to its end after it was taken
		changed = hand.eared || hand.owes > 0
	case !hand.eared:
		changed = h.earOf(worker) != "" && (now-hand.since >= leastEarless.Microseconds() || now < hand.since)
	}
	if changed {
		hand.since = now
	}
	if !hand.filled && !hand.told {
		hand.owes = 0
	}
	return changed
}

func (m *dealtMessage) receipt() queue.Receipt { return queue.Receipt{ID: m.ID, Token: m.Token} }

// setEar has the row of a worker say whether it has an ear, and which, and notes whether
// there are others. They are told of what is free if it is full and was told alone; what
// cannot be seen yet it is told of later, and tells then.
func (t *wtx) setEar(worker string, now time.Time) error {
	h := &t.pg.hands
	h.mu.Lock()
	ear, owes := h.earOf(worker), false
	if hand := h.of[worker]; hand != nil {
		hand.eared, hand.passed = ear != "", 0
		if hand.full {
			hand.passed = hand.owes
		}
		owes = hand.passed > 0
	}
	h.mu.Unlock()
	var others, free bool
	if err := t.row(stSetEar, worker, ear, micros(now), owes).Scan(&others, &free); err != nil {
		return err
	}
	h.mu.Lock()
	h.others = others
	h.mu.Unlock()
	return t.notify(free)
}

// change is called before a transaction with setEar, and what it returns with its outcome.
func (h *hands) change(worker string) (settle func(error)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	hand := h.of[worker]
	if hand == nil {
		return func(error) {}
	}
	before := hand.eared
	return func(err error) {
		h.mu.Lock()
		defer h.mu.Unlock()
		if err != nil {
			hand.eared = before
		} else {
			hand.owes = max(hand.owes-hand.passed, 0)
		}
		hand.passed = 0
	}
}

// setEar does what the next heartbeat does, now.
func (s *Store) setEar(ctx context.Context, worker string) {
	settle := s.pg.hands.change(worker)
	settle(s.write(ctx, "heartbeat", func(tx *wtx) error { return tx.setEar(worker, s.now()) }))
}

// tellEcho has the connection that listens prove that it does.
func (t *wtx) tellEcho() error {
	ear := t.pg.hands.echo()
	if ear == "" {
		return nil
	}
	_, err := t.Tx.Tx.ExecContext(t.ctx, "SELECT pg_notify($1::text, '')", t.pg.channel+"_"+ear)
	return err
}

// hearAlone is what is done with a notification for this process alone.
func (s *Store) hearAlone(ctx context.Context, told string) {
	h := &s.pg.hands
	if told == "" {
		for _, worker := range h.heard() {
			go s.setEar(ctx, worker) // it may have to wait for a connection
		}
	} else if worker, deal, ok := strings.Cut(told, "\n"); !ok {
		s.pg.told.Store(true) // the claim that finds it told asks the database
		h.tell()
		s.hint()
	} else if h.take(worker, deal) {
		s.hint()
	}
}

// beatPostgres is what a heartbeat is, besides. It is done again if it fails.
func (s *Store) beatPostgres(tx *wtx, w queue.Worker) error {
	if w.Ready {
		if err := tx.tellEcho(); err != nil {
			return err
		}
	}
	return tx.setEar(textForm(w.ID), s.now())
}

// sit notes that a worker is ready, and reports whether it was before.
func (s *Store) sit(worker string) bool {
	return s.pg != nil && s.pg.hands.sit(textForm(worker))
}

// rise has a worker give back what it has not claimed: it is not ready any more.
func (s *Store) rise(ctx context.Context, worker string) {
	if s.pg == nil {
		return
	}
	left, owes := s.pg.hands.rise(textForm(worker))
	for _, m := range left {
		s.giveBack(ctx, m)
	}
	if owes {
		_ = s.write(ctx, "heartbeat", func(tx *wtx) error { return tx.notify(true) }) // or they poll
	}
}

// giveBack returns what a worker was dealt and does not want.
func (s *Store) giveBack(ctx context.Context, m dealtMessage) {
	_ = s.Return(ctx, m.receipt()) // or its heartbeats hand it back
}
