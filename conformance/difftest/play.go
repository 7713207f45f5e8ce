package difftest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/internal/kit"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/memstore"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// player plays one sequence on both sides.
type player struct {
	ctx       context.Context
	faulty    bool
	oracle    *side
	candidate *side
	leases    map[string]lapse
	filled    *filled
}

// lapse is when a worker's lease ends: from the one instant on it may have, from
// the other on it has.
type lapse struct{ may, has time.Time }

// side is one of the two stores, and what was learned from it.
type side struct {
	harness conformance.Harness
	handles [2]persistence.Store       // what the operations use
	got     map[string][]queue.Receipt // by the message's name
	claimed []queue.Receipt
	names   map[string]string // of ids that the store chose
	ids     map[string]string // the other way round
	fences  map[string]int64  // last seen, by worker
	fence   int64             // the highest seen
	asked   persistence.Query // whose next page is token
	token   string
}

func newSide(h conformance.Harness) *side {
	s := &side{
		harness: h, got: map[string][]queue.Receipt{}, names: map[string]string{}, ids: map[string]string{}, fences: map[string]int64{},
	}
	s.handles = s.calm()
	return s
}

// result is what an operation gave, the store's own tokens and ids replaced.
type result struct {
	Class string // of the error, empty for none
	Facts any    // that the error carries
	Value any

	or []string // classes that would be as right, where there are several reasons to refuse
}

// settle makes got's class the one wanted if it is as right.
func (r result) settle(got result) result {
	if r.Class != "" && slices.Contains(r.or, got.Class) {
		got.Class, got.Facts = r.Class, r.Facts
	}
	all, ok := r.Value.([]result)
	gotten, too := got.Value.([]result)
	if ok && too && len(all) == len(gotten) {
		settled := make([]result, len(all))
		for i := range all {
			settled[i] = all[i].settle(gotten[i])
		}
		got.Value = settled
	}
	return got
}

// memory is the oracle's harness.
type memory struct {
	data          *memstore.Data
	clock         *stabilize.ManualClock
	first, second *memstore.Store
}

func (m *memory) Store() persistence.Store      { return m.first }
func (m *memory) Second() persistence.Store     { return m.second }
func (m *memory) Clock() *stabilize.ManualClock { return m.clock }

func (m *memory) Reopen() persistence.Store {
	if m.first != nil {
		_, _ = m.first.Close(), m.second.Close() // of a memory store: never an error
	}
	cfg := memstore.Config{Clock: m.clock}
	m.first, m.second = memstore.Open(m.data, cfg), memstore.Open(m.data, cfg)
	return m.first
}

// play returns where the harness's store first disagrees with the memory store,
// or nil. It closes the harness's handles.
func play(ctx context.Context, ops []op, full *filled, faulty bool, h conformance.Harness) *trouble {
	m := &memory{data: memstore.NewData(), clock: stabilize.NewManualClock(h.Clock().Now())}
	m.Reopen()
	p := &player{ctx: ctx, faulty: faulty, oracle: newSide(m), candidate: newSide(h), leases: map[string]lapse{}, filled: full}
	defer func() { _, _ = h.Store().Close(), h.Second().Close() }() // whether that works is a clause of storetest
	for i, o := range ops {
		if says := p.step(o); says != "" {
			return &trouble{i, says}
		}
	}
	if says := p.end(); says != "" {
		return &trouble{len(ops), says}
	}
	return nil
}

// step plays one operation and says what went wrong, or nothing.
func (p *player) step(o op) string {
	p.candidate.handles = p.candidate.calm()
	do := o.on(p)
	got := p.safely(p.candidate, do)
	if p.faulty {
		switch got.Class {
		case stabilize.ErrTransient.Error():
			return "" // if it has done something, what is left shows it
		case stabilize.ErrUnknownOutcome.Error(), stabilize.ErrClosed.Error():
			return p.resolve(do, got)
		}
	}
	want := p.safely(p.oracle, do)
	if d := kit.Diff(want, want.settle(got)); d != "" {
		return d
	}
	return ""
}

// resolve finds out whether a change of unknown outcome has happened: what is
// left must be what was there before, or what it would have made.
func (p *player) resolve(do func(*side) result, got result) string {
	if got.Class == stabilize.ErrClosed.Error() {
		p.candidate.harness.Reopen()
	}
	seen := p.see(p.candidate, 0)
	without := kit.Diff(p.see(p.oracle, 0), seen)
	if without == "" {
		return ""
	}
	want := p.safely(p.oracle, do)
	with := kit.Diff(p.see(p.oracle, 0), seen)
	if with == "" {
		p.candidate.bornAs(p.oracle)
		return ""
	}
	return fmt.Sprintf("its outcome was unknown, and it has neither happened nor not:\n    as if it had not, but for %s\n    as if it had (%s), but for %s", without, want, with)
}

func (p *player) safely(s *side, do func(*side) result) (r result) {
	defer func() {
		if x := recover(); x != nil {
			r = result{Class: fmt.Sprint("panic: ", x)}
		}
	}()
	return do(s)
}

// end compares what is left, seen from both handles, then what a new worker is
// given when all leases have lapsed.
func (p *player) end() string {
	for handle := range by(2) {
		if d := kit.Diff(p.see(p.oracle, handle), p.see(p.candidate, handle)); d != "" {
			return fmt.Sprintf("what is left differs, seen from handle %d: %s", handle+1, d)
		}
	}
	p.faulty = false
	for _, o := range []op{advance{24 * time.Hour}, claim{worker: "heir", room: kit.Plenty()}} {
		if says := p.step(o); says != "" {
			return fmt.Sprintf("%s: %s", o, says)
		}
	}
	if d := kit.Diff(p.see(p.oracle, 0), p.see(p.candidate, 0)); d != "" {
		return fmt.Sprintf("what is left differs when all that is due has been claimed: %s", d)
	}
	return ""
}

// move sets both clocks forward, and further on as long as any worker's lease
// may have lapsed or not.
func (p *player) move(by time.Duration) {
	now := p.now().Add(by)
	for again := true; again; {
		again = false
		for _, l := range p.leases {
			if !now.Before(l.may) && now.Before(l.has) {
				now, again = l.has, true
			}
		}
	}
	p.oracle.harness.Clock().Set(now)
	p.candidate.harness.Clock().Set(now)
}

func (p *player) now() time.Time { return p.oracle.harness.Clock().Now() }

// renewed notes that a worker has called, with a call that need not renew all of
// its time.
func (p *player) renewed(w queue.Worker, wholly bool) {
	now := p.now()
	l := p.leases[w.ID]
	if least := now.Add(w.TTL * 2 / 3); l.may.Before(least) {
		l.may = least
	}
	l.has = now.Add(w.TTL)
	if wholly {
		l.may = l.has
	}
	p.leases[w.ID] = l
}

// failed makes the result of a call that returns an error alone.
func failed(err error) result {
	if err == nil {
		return result{}
	}
	return result{Class: classOf(err), Facts: factsOf(err)}
}

// classOf returns the sentinel that an error matches, or all of them, or the
// error itself if it matches none.
func classOf(err error) string {
	var class error
	for _, c := range []error{
		stabilize.ErrInvalid, stabilize.ErrNotFound, stabilize.ErrExists, stabilize.ErrConflict, stabilize.ErrLeaseLost,
		stabilize.ErrNoPlace, stabilize.ErrPlaceFree, stabilize.ErrTooLarge, stabilize.ErrCorrupt, stabilize.ErrClosed,
		stabilize.ErrTransient, stabilize.ErrUnknownOutcome, stabilize.ErrUnsupported, context.Canceled, context.DeadlineExceeded,
	} {
		switch {
		case !errors.Is(err, c):
		case class != nil:
			return fmt.Sprintf("%s and %s: %s", class, c, err)
		default:
			class = c
		}
	}
	if class == nil {
		return "no class: " + err.Error()
	}
	return class.Error()
}

// factsOf returns what an error carries where the contract says what that is.
func factsOf(err error) any {
	var conflict *stabilize.ConflictError
	var seats *stabilize.AdmissionError
	switch {
	case errors.As(err, &conflict):
		return *conflict
	case errors.As(err, &seats):
		return *seats
	}
	return nil
}

// String tells whether it went well.
func (r result) String() string {
	if r.Class != "" {
		return fmt.Sprintf("%q", r.Class)
	}
	return "no error"
}
