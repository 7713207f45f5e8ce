package handlers

import (
	"slices"

	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Mutex, interleaved routing and critical section (patterns 17, 39, 40). Who
// holds a key is read from the statuses of the stages that share it, so there is
// no lock to lose: a mutex is held while its stage is under way, a section from
// the start of its first stage to the end of its last. The end of a holder
// offers those who wait (the reference's start_stage/ asks every 15 s). A global
// key is held by the workflow as well, see acquire_lock.go.

// enterExclusion reports whether a stage may start as far as its key goes. For a
// global key that the workflow does not hold it asks for it.
func (x *Decision) enterExclusion(s *stabilize.Stage) bool {
	e := s.Rules.Exclusion
	if e == nil {
		return true
	}
	if x.excluded(s) {
		return false
	}
	w := x.Workflow()
	if !e.Global {
		return true
	}
	i := slices.IndexFunc(w.Locks, func(l stabilize.Lock) bool { return l.Key == e.Key })
	if i < 0 {
		ticket := x.NewID()
		h := x.draft.Header()
		h.Locks = append(h.Locks, stabilize.Lock{Key: e.Key, Ticket: ticket})
		x.Push(queue.AcquireLock{
			OfWorkflow: queue.ToWorkflow(queue.LockID(e.Key)), Key: e.Key, LockPlace: queue.LockPlace{For: w.ID, Ticket: ticket},
		})
		return false
	}
	return w.Locks[i].Held
}

// excluded reports whether another stage of the workflow holds the key of s.
func (x *Decision) excluded(s *stabilize.Stage) bool {
	w, e := x.Workflow(), s.Rules.Exclusion
	if held := w.ActiveExcluding(e.Key) > 0; !e.Section && held || !w.HasSections(e.Key) {
		return held
	}
	members := w.Excluding(e.Key)
	var own []string
	if e.Section {
		own = sectionOf(members, s)
	}
	for _, m := range members {
		if m.ID != s.ID && !slices.Contains(own, m.Ref) && holdsKey(members, m) {
			return true
		}
	}
	return len(w.StillHolding(e.Key)) > 0
}

// sectionOf returns the refs of the section that s is in: the members that are
// connected with it.
func sectionOf(members []*stabilize.Stage, s *stabilize.Stage) []string {
	refs := []string{s.Ref}
	for i := 0; i < len(refs); i++ {
		for _, m := range members {
			if !m.Rules.Exclusion.Section || slices.Contains(refs, m.Ref) {
				continue
			}
			at := refs[i]
			connected := slices.Contains(m.Requisites, at)
			for _, n := range members {
				connected = connected || n.Ref == at && slices.Contains(n.Requisites, m.Ref)
			}
			if connected {
				refs = append(refs, m.Ref)
			}
		}
	}
	return refs
}

// holdsKey reports whether a stage, or the section it is in, has begun and not
// ended.
func holdsKey(members []*stabilize.Stage, s *stabilize.Stage) bool {
	if !s.Rules.Exclusion.Section {
		return s.Status.IsActive()
	}
	begun, open := false, false
	section := sectionOf(members, s)
	for _, m := range members {
		if slices.Contains(section, m.Ref) {
			begun = begun || !m.StartedAt.IsZero()
			open = open || !m.Status.IsComplete() && (m.Status.IsActive() || entered(members, section, m))
		}
	}
	return begun && open
}

// entered reports whether a section that a stage is in, which has not begun, was
// entered since its round was opened: one that is restarted after its section was
// left does not hold the key before it begins.
func entered(members []*stabilize.Stage, section []string, s *stabilize.Stage) bool {
	o := s.Known().Origin
	return o == nil || slices.ContainsFunc(members, func(m *stabilize.Stage) bool {
		return slices.Contains(section, m.Ref) && !m.StartedAt.Before(o.At)
	})
}

// leaveExclusion gives a global key back when nobody here holds it (whoever else
// waits for it, in this workflow too, gets it in turn) and offers the stages
// that wait for the key of a stage that ended.
func (x *Decision) leaveExclusion(s *stabilize.Stage) error {
	if s.Rules.Exclusion == nil {
		return nil
	}
	if x.Workflow().ActiveExcluding(s.Rules.Exclusion.Key) > 0 || x.sectionHolds(s.Rules.Exclusion.Key) {
		return nil
	}
	if s.Rules.Exclusion.Global {
		x.releaseLock(s.Rules.Exclusion.Key)
	}
	x.offerKey(s)
	return nil
}

// sectionHolds reports whether a section, entered and not left, holds a key.
func (x *Decision) sectionHolds(key string) bool {
	if !x.Workflow().HasSections(key) {
		return false
	}
	members := x.Workflow().Excluding(key)
	return slices.ContainsFunc(members, func(m *stabilize.Stage) bool { return holdsKey(members, m) })
}

// passOn offers the key of a stage that was to start and cannot to the others
// that wait for it.
func (x *Decision) passOn(s *stabilize.Stage) error {
	if s.Rules == nil || s.Rules.Exclusion == nil {
		return nil
	}
	w, key := x.Workflow(), s.Rules.Exclusion.Key
	if !x.sectionHolds(key) && (w.HasSections(key) || w.ActiveExcluding(key) == 0) {
		x.offerKey(s)
	}
	return nil
}

// offerKey offers those that wait for the key of a stage, in their order. Where
// they are decided at once it stops at the first of which it is sure that it takes
// the key, or passes it on by ending; through the queue whichever comes first takes
// it (pattern 40).
func (x *Decision) offerKey(of *stabilize.Stage) {
	w := x.Workflow()
	for m := range w.NotBegun(of.Rules.Exclusion.Key) {
		if m.ID != of.ID && x.parentTakes(m) && x.offer(m) && x.env.Cascade && !m.Rules.Exclusion.Global && !w.Counted(m.Ref) {
			return
		}
	}
}

// parentTakes reports whether the parent of a stage, if it has one, lets it start.
func (x *Decision) parentTakes(s *stabilize.Stage) bool {
	parent := x.Workflow().Stage(s.ParentID)
	return parent == nil || takesChild(parent, s)
}

// releaseLock gives a global key back, or the turn for it.
func (x *Decision) releaseLock(key string) {
	w := x.Workflow()
	i := slices.IndexFunc(w.Locks, func(l stabilize.Lock) bool { return l.Key == key })
	if i < 0 {
		return
	}
	h := x.draft.Header()
	ticket := h.Locks[i].Ticket
	h.Locks = slices.Delete(h.Locks, i, i+1)
	x.Push(lockRelease(key, w.ID, ticket))
}

// releaseLocks gives back all global keys of a workflow that ends.
func (x *Decision) releaseLocks() {
	for len(x.Workflow().Locks) > 0 {
		x.releaseLock(x.Workflow().Locks[0].Key)
	}
}
