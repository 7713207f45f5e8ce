package memstore

import (
	"container/list"
	"context"
	"maps"
	"slices"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// gate is one concurrency limit: the seats taken and the seats awaited.
type gate struct {
	key     string
	holding *list.List // of *seat, in the order they were taken
	waiting *list.List // of *seat, first in first out
}

// seat is a workflow's place, or its turn to get one.
type seat struct {
	gate    *gate
	owner   *owner
	waiting bool
	limit   int // asked for, by one who waits
	at      *list.Element
}

// counts is the rule of persistence.Admission; what does not count is reclaimed.
func (s *seat) counts() bool {
	status := s.owner.workflow.header.Status
	if s.waiting {
		return persistence.KeepsTurn(status)
	}
	return persistence.HoldsPlace(status)
}

func (o *owner) seat(g *gate, waiting bool) *seat {
	for _, s := range o.seats {
		if s.gate == g && s.waiting == waiting {
			return s
		}
	}
	return nil
}

func (d *Data) sit(g *gate, o *owner, waiting bool, limit int) {
	s := &seat{gate: g, owner: o, waiting: waiting, limit: limit}
	if waiting {
		s.at = g.waiting.PushBack(s)
	} else {
		s.at = g.holding.PushBack(s)
	}
	o.seats = append(o.seats, s)
}

func (d *Data) leave(s *seat) {
	g := s.gate
	if s.waiting {
		g.waiting.Remove(s.at)
	} else {
		g.holding.Remove(s.at)
	}
	s.owner.seats = slices.DeleteFunc(s.owner.seats, func(t *seat) bool { return t == s })
	d.closeGate(g)
}

func (d *Data) closeGate(g *gate) {
	if g.holding.Len() == 0 && g.waiting.Len() == 0 {
		delete(d.gates, g.key)
	}
}

// admission is what was found out about a request before anything is changed.
type admission struct {
	holding bool // it has a place that counts
	turn    bool // it has a turn that counts
	held    int
	refused bool
}

// judge finds out; o is nil for a workflow about to be created.
func (d *Data) judge(a *persistence.Admission, o *owner) (v admission) {
	if a.Op == persistence.LeavePlace {
		return v
	}
	g := d.gates[a.Key]
	ahead := 0
	if g != nil {
		var turn *seat
		if o != nil {
			place := o.seat(g, false)
			turn = o.seat(g, true)
			v.holding = place != nil && place.counts()
			v.turn = turn != nil && turn.counts()
		}
		for e := g.holding.Front(); e != nil; e = e.Next() {
			if e.Value.(*seat).counts() {
				v.held++
			}
		}
		// No further than it matters: a long waiting list is not walked.
		for e := g.waiting.Front(); e != nil && ahead < a.Limit-v.held; e = e.Next() {
			s := e.Value.(*seat)
			if s == turn && v.turn {
				break
			}
			if s != turn && s.counts() {
				ahead++
			}
		}
	}
	may := persistence.MayTake(v.holding, ahead, v.held, a.Limit)
	v.refused = may != (a.Op == persistence.TakePlace)
	return v
}

func (v admission) err(c *persistence.Commit) error {
	a := c.Admission
	return &stabilize.AdmissionError{
		Key: a.Key, WorkflowID: c.WorkflowID, Limit: a.Limit, Holding: v.held,
		Free: a.Op == persistence.WaitForPlace,
	}
}

// admit does what judge allowed. Seats that do not count are reclaimed here,
// the waiting ones as far as they stand in front.
func (d *Data) admit(a *persistence.Admission, o *owner, v admission) {
	g := d.gates[a.Key]
	if a.Op == persistence.LeavePlace {
		if g != nil {
			d.unseat(g, o, true, true)
		}
		return
	}
	if g == nil {
		g = &gate{key: a.Key, holding: list.New(), waiting: list.New()}
	}
	d.unseat(g, o, !v.holding, a.Op == persistence.TakePlace || !v.turn)
	d.reclaim(g)
	d.gates[a.Key] = g
	switch {
	case a.Op == persistence.TakePlace && !v.holding:
		d.sit(g, o, false, 0)
	case a.Op == persistence.WaitForPlace && v.turn:
		o.seat(g, true).limit = a.Limit
	case a.Op == persistence.WaitForPlace:
		d.sit(g, o, true, a.Limit)
	}
}

func (d *Data) unseat(g *gate, o *owner, place, turn bool) {
	if s := o.seat(g, false); place && s != nil {
		d.leave(s)
	}
	if s := o.seat(g, true); turn && s != nil {
		d.leave(s)
	}
}

func (d *Data) reclaim(g *gate) {
	for e := g.holding.Front(); e != nil; {
		s := e.Value.(*seat)
		e = e.Next()
		if !s.counts() {
			d.leave(s)
		}
	}
	for e := g.waiting.Front(); e != nil && !e.Value.(*seat).counts(); e = g.waiting.Front() {
		d.leave(e.Value.(*seat))
	}
}

// Admissions implements persistence.WorkflowStore.
func (s *Store) Admissions(ctx context.Context, key string) (persistence.Admissions, error) {
	var out persistence.Admissions
	if err := s.begin(ctx); err != nil {
		return out, err
	}
	if err := stabilize.CheckID("admission key", key); err != nil {
		return out, err
	}
	s.data.mu.Lock()
	defer s.data.mu.Unlock()
	if g := s.data.gates[key]; g != nil {
		out.Holding, out.Waiting = counting(g.holding), counting(g.waiting)
	}
	return out, nil
}

func counting(l *list.List) []string {
	var ids []string
	for e := l.Front(); e != nil; e = e.Next() {
		if s := e.Value.(*seat); s.counts() {
			ids = append(ids, s.owner.id)
		}
	}
	return ids
}

// WaitingKeys implements persistence.WaitingKeys; the keys are sorted.
func (s *Store) WaitingKeys(ctx context.Context) ([]persistence.WaitingKey, error) {
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	s.data.mu.Lock()
	defer s.data.mu.Unlock()
	var keys []persistence.WaitingKey
	for _, key := range slices.Sorted(maps.Keys(s.data.gates)) {
		for e := s.data.gates[key].waiting.Front(); e != nil; e = e.Next() {
			if st := e.Value.(*seat); st.counts() {
				keys = append(keys, persistence.WaitingKey{Key: key, Limit: st.limit})
				break
			}
		}
	}
	return keys, nil
}
