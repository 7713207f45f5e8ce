package storetest

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/internal/kit"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// claims is the group CL: leases in commits and admission limits.
func claims() []check {
	return []check{
		clause("CL-01", "A message acknowledged in a commit under a lease that was lost returns ErrLeaseLost and nothing of the commit applies; one whose lease lapsed but was given to nobody else is still held.", cl01),
		clause("CL-02", "Under an admission limit L, of N concurrent starts (L = 1, 2, 5; N = 2, 16, 64) never more than L hold a place, and no place stays free, over rounds and across handles.", cl02),
		clause("CL-03", "A start refused for want of a place changes nothing; waiting instead enters the list.", cl03),
		clause("CL-04", "A place taken by a refused commit is free.", cl04),
		clause("CL-05", "Places are scoped by their key, compared byte by byte: case, trailing space and separators count.", cl05),
		clause("CL-06", "A place whose owner is terminal, deleted or never started is reclaimed, a turn whose owner neither waits nor is new is too; those of the others never are: tabled over all twelve statuses.", cl06),
		clause("CL-07", "Of those that reclaim the same place at once exactly one gets it.", cl07),
		clause("CL-08", "Giving a place back twice frees one place, not two; giving back a turn frees the turn; what the same workflow has under other keys stays.", cl08),
		clause("CL-09", "Raising or lowering the limit takes effect on the next decision; lowering never evicts a holder; 0 or less is no limit.", cl09),
		clause("CL-10", "Those that wait are admitted first in, first out; nobody waits beside a free place, and nobody overtakes.", cl10),
		clause("CL-13", "A message that a commit leases to a worker is delivered to nobody else while the worker lives, counts as its first attempt, and is acknowledged by the token of the lease.", cl13),
		clause("CL-14", "A message that a commit leases to a worker without a live worker lease is stored unleased.", cl14),
		clauseFor(conformance.CanListWaiting, "CL-15", "The keys under which someone waits are listed with the limit that the oldest asked for last, those left out whose waiters no longer count: one who waits again keeps its turn, under the new limit.", cl15),
	}
}

func place(op persistence.AdmissionOp, key string, limit int) *persistence.Admission {
	return &persistence.Admission{Op: op, Key: key, Limit: limit}
}

// ask commits nothing but an admission, on the present version.
func (e *env) ask(s persistence.Store, id string, op persistence.AdmissionOp, key string, limit int) error {
	e.Helper()
	h := e.summary(s, id)
	return e.one(s, &persistence.Commit{WorkflowID: id, Expect: h.Version, Admission: place(op, key, limit)})
}

func (e *env) take(id, key string, limit int) error {
	e.Helper()
	return e.ask(e.a, id, persistence.TakePlace, key, limit)
}

// becomes gives a workflow a status.
func (e *env) becomes(id string, status stabilize.Status) {
	e.Helper()
	h := e.summary(e.a, id).Clone()
	h.Status = status
	e.commit(e.a, &persistence.Commit{WorkflowID: id, Expect: h.Version, Header: h})
}

func (e *env) running(ids ...string) {
	e.Helper()
	e.createAll(ids, nil)
}

func (e *env) waiting(ids ...string) {
	e.Helper()
	e.createAll(ids, func(w *stabilize.Workflow) { w.Status = stabilize.Buffered })
}

func (e *env) holds(key string, holding, waiting []string, when string, args ...any) {
	e.Helper()
	for _, s := range []persistence.Store{e.a, e.b} {
		a := e.admissions(s, key)
		when := fmt.Sprintf(when, args...)
		e.List(holding, a.Holding, "who holds a place under %q %s", key, when)
		e.List(waiting, a.Waiting, "who waits under %q %s", key, when)
	}
}

func cl01(e *env) {
	w := e.create("w", "s")
	e.Push(e.a, kit.Send("m"))
	first := e.ClaimOne(e.a, "first")
	e.Lapse()
	second := e.ClaimOne(e.b, "second")
	c := kit.Update(w, "late", "s")
	c.Handled, c.Messages = []queue.Receipt{first.Receipt()}, []queue.Outgoing{about("w", "never")}
	same := e.unchanged("w")
	e.Want(stabilize.ErrLeaseLost, e.one(e.a, c), "committing with the token of a lease that another holds now")
	same("after the refused commit")
	c.Handled[0].Token = second.Token + "x"
	e.Want(stabilize.ErrLeaseLost, e.one(e.a, c), "committing with a token nobody was given")
	same("after the refused commit")
	e.Lapse()
	c.Handled = []queue.Receipt{second.Receipt()}
	if err := e.one(e.a, c); err != nil {
		e.Errorf("committing with a lease that lapsed but was given to nobody else: %v", err)
	}
	e.Lapse()
	if got := kit.IDs(e.Claim(e.b, "third")); !slices.Equal(got, []string{"never"}) {
		e.Errorf("after the commit these messages came: %v, want the one it pushed", got)
	}
}

func cl02(e *env) {
	round := 0
	for _, limit := range []int{1, 2, 5} {
		for _, n := range []int{2, 16, 64} {
			for range max(e.Effort.Of(100, 9)/9, 1) {
				round++
				key, ids := fmt.Sprintf("key%d", round), kit.Numbered(fmt.Sprintf("w%d-%%d", round), n)
				e.createAll(ids, func(w *stabilize.Workflow) { w.Status = stabilize.NotStarted })
				errs := kit.Race(n, func(i int) error {
					h := kit.Workflow(ids[i], e.Now()).Header // RUNNING
					for tries := 0; ; tries++ {
						err := e.one(e.both(i), &persistence.Commit{WorkflowID: ids[i], Expect: 1, Header: &h, Admission: place(persistence.TakePlace, key, limit)})
						if !errors.Is(err, stabilize.ErrTransient) || tries > kit.Tries {
							return err
						}
					}
				})
				got := 0
				for _, err := range errs {
					if err == nil {
						got++
					} else if !errors.Is(err, stabilize.ErrNoPlace) {
						e.Fatalf("a start under a limit returned %v", err)
					}
				}
				holding := e.admissions(e.b, key).Holding
				if want := min(limit, n); got != want || len(holding) != want {
					e.Fatalf("of %d concurrent starts under a limit of %d %d succeeded and %d hold a place", n, limit, got, len(holding))
				}
				for _, id := range holding {
					if i := slices.Index(ids, id); i < 0 || errs[i] != nil {
						e.Fatalf("%q holds a place, but its start was refused", id)
					}
				}
			}
		}
	}
}

func cl03(e *env) {
	e.hold("holder", "k", 1)
	w := kit.Workflow("w", e.Now(), "s")
	w.Status = stabilize.NotStarted
	e.commit(e.a, kit.Creation(w))
	w = e.load(e.a, "w")
	same := e.unchanged("w", "k")
	start := kit.Update(w, "started", "s")
	start.Header.Status = stabilize.Running
	start.Admission, start.Messages = place(persistence.TakePlace, "k", 1), []queue.Outgoing{about("w", "go")}
	e.Want(stabilize.ErrNoPlace, e.one(e.a, start), "starting with no place free")
	same("after a start refused for want of a place")
	wait := kit.Update(w, "buffered")
	wait.Header.Status = stabilize.Buffered
	wait.Admission = place(persistence.WaitForPlace, "k", 1)
	e.commit(e.a, wait)
	e.holds("k", []string{"holder"}, []string{"w"}, "after buffering instead")
	if h := e.summary(e.b, "w"); h.Status != stabilize.Buffered || h.Version != 2 {
		e.Errorf("the workflow is %s at version %d", h.Status, h.Version)
	}
}

func cl04(e *env) {
	e.running("w", "x")
	stale := &persistence.Commit{WorkflowID: "w", Expect: 9, Admission: place(persistence.TakePlace, "k", 1)}
	e.Want(stabilize.ErrConflict, e.one(e.a, stale), "taking a place from a stale version")
	lost := &persistence.Commit{WorkflowID: "w", Expect: 1, Admission: place(persistence.TakePlace, "k", 1), Handled: []queue.Receipt{{ID: "m", Token: "t"}}}
	e.Want(stabilize.ErrLeaseLost, e.one(e.a, lost), "taking a place with a lost lease")
	e.holds("k", nil, nil, "after refused commits")
	e.Must(e.take("x", "k", 1), "taking the place that refused commits had asked for")
	e.Want(stabilize.ErrNoPlace, e.take("w", "k", 1), "taking it again")
	waits := &persistence.Commit{WorkflowID: "w", Expect: 9, Admission: place(persistence.WaitForPlace, "k", 1)}
	e.Want(stabilize.ErrConflict, e.one(e.a, waits), "waiting from a stale version")
	e.holds("k", []string{"x"}, nil, "after a refused commit that would wait")
}

func cl05(e *env) {
	keys := []string{"k", "K", "k ", " k", "k\x1f", "app\x1fk", "ap\x1fpk", "k%", "_", "é", "e\u0301"}
	ids := kit.Numbered("w%d", len(keys))
	e.running(ids...)
	e.running("late")
	for i, k := range keys {
		e.Must(e.take(ids[i], k, 1), "taking the one place under %q", k)
	}
	for i, k := range keys {
		e.holds(k, []string{ids[i]}, nil, "when each key has one holder")
		e.Want(stabilize.ErrNoPlace, e.take("late", k, 1), "taking a second place under %q", k)
	}
}

func cl06(e *env) {
	for _, s := range stabilize.Statuses() {
		holder, waiter, next, key := "holder "+s.String(), "waiter "+s.String(), "next "+s.String(), "key "+s.String()
		e.running(holder, next)
		e.Must(e.take(holder, key, 1), "taking a place")
		e.waiting(waiter)
		e.Must(e.ask(e.a, waiter, persistence.WaitForPlace, key, 1), "waiting")
		e.becomes(holder, s)
		e.becomes(waiter, s)
		var holding, waiting []string
		if persistence.HoldsPlace(s) {
			holding = []string{holder}
		}
		if persistence.KeepsTurn(s) {
			waiting = []string{waiter}
		}
		e.holds(key, holding, waiting, "when both are %s", s)
		if err := e.take(next, key, 1); holding == nil && waiting == nil {
			e.Must(err, "taking a place whose holder, and the one in front, are %s", s)
			e.holds(key, []string{next}, nil, "after it was taken from one that is %s", s)
		} else {
			e.Want(stabilize.ErrNoPlace, err, "taking a place whose holder, or the one in front, is %s", s)
		}
	}
	e.running("gone", "x")
	e.Must(e.take("gone", "k", 1), "taking a place")
	e.waiting("gone too")
	e.Must(e.ask(e.a, "gone too", persistence.WaitForPlace, "k", 1), "waiting")
	e.Must(e.b.Delete(e.Ctx(), "gone", "gone too"), "deleting")
	e.holds("k", nil, nil, "after both were deleted")
	e.Must(e.take("x", "k", 1), "taking a place whose holder, and the one in front, were deleted")
	e.running("gone")
	e.Want(stabilize.ErrNoPlace, e.take("gone", "k", 1), "taking a place that an earlier workflow of the same id held")
}

func cl07(e *env) {
	for round := range e.Effort.Of(20, 3) {
		key, dead := fmt.Sprintf("k%d", round), fmt.Sprintf("dead%d", round)
		ids := kit.Numbered(fmt.Sprintf("w%d-%%d", round), 4)
		e.running(append(ids, dead)...)
		e.Must(e.take(dead, key, 1), "taking a place")
		e.becomes(dead, stabilize.Terminal)
		errs := kit.Race(len(ids), func(i int) error {
			return e.one(e.both(i), &persistence.Commit{WorkflowID: ids[i], Expect: 1, Admission: place(persistence.TakePlace, key, 1)})
		})
		var got []string
		for i, err := range errs {
			if err == nil {
				got = append(got, ids[i])
			} else if !errors.Is(err, stabilize.ErrNoPlace) {
				e.Fatalf("reclaiming a place returned %v", err)
			}
		}
		if len(got) != 1 {
			e.Fatalf("round %d: %d of %d got the one place of a workflow that ended", round, len(got), len(ids))
		}
		e.holds(key, got, nil, "after the race")
	}
}

func cl08(e *env) {
	e.running("a", "b", "c", "d", "e")
	for _, id := range []string{"a", "b"} {
		e.Must(e.take(id, "k", 2), "taking a place")
	}
	for range 2 {
		e.Must(e.ask(e.a, "a", persistence.LeavePlace, "k", 2), "giving a place back")
	}
	e.holds("k", []string{"b"}, nil, "after a gave its place back twice")
	e.Must(e.take("c", "k", 2), "taking the place given back")
	e.Want(stabilize.ErrNoPlace, e.take("d", "k", 2), "taking one more")
	e.waiting("w1", "w2")
	for _, id := range []string{"w1", "w2"} {
		e.Must(e.ask(e.a, id, persistence.WaitForPlace, "k", 2), "waiting")
	}
	e.Must(e.ask(e.b, "w1", persistence.LeavePlace, "k", 2), "giving a turn back")
	e.holds("k", []string{"b", "c"}, []string{"w2"}, "after w1 gave its turn back")
	e.Must(e.ask(e.b, "e", persistence.LeavePlace, "k", 2), "giving back what one never had")
	e.holds("k", []string{"b", "c"}, []string{"w2"}, "after e gave back what it never had")
	e.Must(e.take("b", "other key", 1), "taking a place under another key")
	e.Must(e.ask(e.a, "w2", persistence.WaitForPlace, "other key", 1), "waiting under another key")
	e.Must(e.ask(e.a, "b", persistence.LeavePlace, "k", 2), "giving a place back")
	e.Must(e.ask(e.a, "w2", persistence.LeavePlace, "k", 2), "giving a turn back")
	e.holds("k", []string{"c"}, nil, "after b and w2 gave back what they had")
	e.holds("other key", []string{"b"}, []string{"w2"}, "after b and w2 gave back what they had under k")
}

func cl09(e *env) {
	e.running("a", "b", "c", "d", "e", "f")
	e.Must(e.take("a", "k", 1), "taking the first place")
	e.Want(stabilize.ErrNoPlace, e.take("b", "k", 1), "taking a second place under a limit of 1")
	e.Must(e.take("b", "k", 3), "taking a second place under a limit of 3")
	e.Must(e.take("c", "k", 3), "taking a third place under a limit of 3")
	e.Want(stabilize.ErrNoPlace, e.take("d", "k", 1), "taking a place under a lowered limit")
	e.Must(e.take("a", "k", 1), "taking the place one holds, under a lowered limit")
	e.holds("k", []string{"a", "b", "c"}, nil, "after the limit was lowered")
	e.Must(e.ask(e.a, "a", persistence.LeavePlace, "k", 1), "giving back")
	e.Want(stabilize.ErrNoPlace, e.take("d", "k", 1), "taking a place while two still hold one under a limit of 1")
	e.Want(stabilize.ErrNoPlace, e.take("d", "k", 2), "taking a place while two hold one under a limit of 2")
	e.Must(e.take("d", "k", 0), "taking a place under no limit")
	e.Must(e.take("e", "k", -1), "taking a place under a limit of -1")
	e.holds("k", []string{"b", "c", "d", "e"}, nil, "after two came in without a limit")
	e.Want(stabilize.ErrNoPlace, e.take("f", "k", 4), "taking a place under a limit of 4 while 4 hold one")
}

func cl10(e *env) {
	e.hold("first", "k", 1)
	turns := []string{"w3", "w1", "w2"} // neither by id nor by creation
	e.waiting("w1", "w2", "w3")
	e.running("late")
	e.becomes("late", stabilize.NotStarted)
	for i, id := range turns {
		e.Must(e.ask(e.both(i), id, persistence.WaitForPlace, "k", 1), "waiting")
	}
	e.Must(e.ask(e.a, "w3", persistence.WaitForPlace, "k", 1), "waiting once more")
	e.holds("k", []string{"first"}, turns, "when three wait")
	start := func(id string, limit int) error {
		h := e.summary(e.a, id).Clone()
		h.Status = stabilize.Running
		return e.one(e.a, &persistence.Commit{WorkflowID: id, Expect: h.Version, Header: h, Admission: place(persistence.TakePlace, "k", limit)})
	}
	end := func(id string) {
		h := e.summary(e.a, id).Clone()
		h.Status = stabilize.Succeeded
		e.commit(e.a, &persistence.Commit{WorkflowID: id, Expect: h.Version, Header: h, Admission: place(persistence.LeavePlace, "k", 1)})
	}
	holder := "first"
	for i, id := range turns {
		e.Want(stabilize.ErrNoPlace, start(id, 1), "starting %s while no place is free", id)
		end(holder)
		for _, other := range append(slices.Clone(turns[i+1:]), "late") {
			e.Want(stabilize.ErrNoPlace, start(other, 1), "starting %s before %s, whose turn it is", other, id)
		}
		e.Want(stabilize.ErrPlaceFree, e.ask(e.a, id, persistence.WaitForPlace, "k", 1), "%s waiting beside a free place", id)
		e.Must(start(id, 1), "starting %s, whose turn it is", id)
		e.holds("k", []string{id}, turns[i+1:], "after %s started", id)
		holder = id
	}
	end(holder)
	e.Want(stabilize.ErrPlaceFree, e.ask(e.a, "late", persistence.WaitForPlace, "k", 1), "waiting when nobody holds or waits")
	e.Must(start("late", 1), "starting when nobody holds or waits")
	// With two places free the first two may go, in either order.
	e.waiting("x1", "x2", "x3")
	for _, id := range []string{"x1", "x2", "x3"} {
		e.Must(e.ask(e.a, id, persistence.WaitForPlace, "k", 1), "waiting")
	}
	e.Want(stabilize.ErrNoPlace, start("x3", 3), "starting the third of three waiters when two places are free")
	e.Must(start("x2", 3), "starting the second of three waiters when two places are free")
	e.Want(stabilize.ErrNoPlace, start("x3", 3), "taking the last place before the first waiter")
	e.Must(start("x1", 3), "taking the last place as the first waiter")
}

func cl13(e *env) {
	w := e.create("w", "s")
	worker := kit.Worker("mine")
	_, err := e.a.Heartbeat(e.Ctx(), worker)
	e.Must(err, "the worker's first heartbeat")
	c := kit.Update(w, "leasing")
	leased := about("w", "leased")
	leased.Lease = &queue.Lease{Worker: "mine", Token: "token"}
	c.Messages = []queue.Outgoing{leased, about("w", "open")}
	e.commit(e.a, c)
	if got := kit.IDs(e.Claim(e.b, "other")); !slices.Equal(got, []string{"open"}) {
		e.Errorf("another worker was given %v, want the message that is not leased", got)
	}
	for _, s := range e.stored("w") {
		if s.ID == "leased" && (!s.Leased || s.Attempts != 1) {
			e.Errorf("the leased message is stored as leased: %t, attempts: %d", s.Leased, s.Attempts)
		}
	}
	e.Clock.Advance(kit.TTL - kit.Tick)
	held, err := e.a.Heartbeat(e.Ctx(), worker)
	e.Must(err, "the worker's heartbeat")
	e.Same([]queue.Receipt{{ID: "leased", Token: "token"}}, held.Held, "what the worker holds")
	e.Clock.Advance(kit.TTL - kit.Tick)
	for _, d := range e.Claim(e.b, "other") {
		if d.ID == "leased" {
			e.Errorf("the leased message was given to another worker while its own lives")
		}
	}
	e.commit(e.a, &persistence.Commit{WorkflowID: "w", Expect: 2, Handled: []queue.Receipt{{ID: "leased", Token: "token"}}})
	// One that nobody acknowledges goes the way of any lease.
	again := about("w", "again")
	again.Lease = &queue.Lease{Worker: "mine", Token: "token 2"}
	e.commit(e.a, &persistence.Commit{Messages: []queue.Outgoing{again}})
	e.Lapse()
	for _, d := range e.Claim(e.b, "third") {
		if d.ID == "again" && d.Attempts == 2 {
			e.Want(stabilize.ErrLeaseLost, e.a.Ack(e.Ctx(), queue.Receipt{ID: "again", Token: "token 2"}), "acknowledging with the token of the lapsed lease")
			return
		}
	}
	e.Errorf("the message of a lapsed lease was not delivered as attempt 2")
}

func (e *env) stored(workflowID string) []queue.Stored {
	e.Helper()
	out, err := e.b.Pending(e.Ctx(), workflowID)
	e.Must(err, "listing what is pending for %q", workflowID)
	return out
}

func cl14(e *env) {
	_, err := e.a.Heartbeat(e.Ctx(), kit.Worker("lapsed"))
	e.Must(err, "a heartbeat")
	_, err = e.a.Heartbeat(e.Ctx(), queue.Worker{ID: "retired", TTL: time.Hour})
	e.Must(err, "a heartbeat")
	e.Must(e.a.Retire(e.Ctx(), "retired"), "retiring")
	e.Lapse()
	var msgs []queue.Outgoing
	workers := []string{"unknown", "lapsed", "retired"}
	for _, w := range workers {
		o := kit.Send(w)
		o.Lease = &queue.Lease{Worker: w, Token: "token of " + w}
		msgs = append(msgs, o)
	}
	e.commit(e.a, &persistence.Commit{Messages: msgs})
	if d := e.Depth(e.b); d.Ready != 3 || d.Leased != 0 {
		e.Errorf("three messages leased to workers without a worker lease are stored as %+v", d)
	}
	held, err := e.a.Heartbeat(e.Ctx(), kit.Worker("lapsed"))
	e.Must(err, "the lapsed worker's heartbeat")
	e.Same([]queue.Receipt(nil), held.Held, "what the lapsed worker holds")
	ds := e.Claim(e.b, "other")
	e.List(workers, kit.IDs(ds), "what another worker is given")
	for _, d := range ds {
		if d.Attempts != 1 {
			e.Errorf("%q comes as attempt %d, want 1", d.ID, d.Attempts)
		}
		e.Want(stabilize.ErrLeaseLost, e.a.Ack(e.Ctx(), queue.Receipt{ID: d.ID, Token: "token of " + d.ID}), "acknowledging with a token that was never a lease")
	}
}

func cl15(e *env) {
	list := func(when string, want ...persistence.WaitingKey) {
		e.Helper()
		got, err := e.b.(persistence.WaitingKeys).WaitingKeys(e.Ctx())
		e.Must(err, "listing the keys under which someone waits")
		slices.SortFunc(got, func(a, b persistence.WaitingKey) int { return slices.Compare([]byte(a.Key), []byte(b.Key)) })
		e.Same(want, got, "the keys under which someone waits %s", when)
	}
	list("when nobody does")
	e.hold("h", "k", 1)
	e.hold("i", "l", 1)
	e.waiting("w1", "w2", "w3")
	e.Must(e.ask(e.a, "w1", persistence.WaitForPlace, "k", 1), "waiting")
	e.running("j")
	e.Must(e.take("j", "k", 0), "taking a place without a limit")
	e.Must(e.ask(e.a, "w2", persistence.WaitForPlace, "k", 2), "waiting")
	e.Must(e.ask(e.a, "w3", persistence.WaitForPlace, "l", 1), "waiting")
	list("when two wait under k and one under l", persistence.WaitingKey{Key: "k", Limit: 1}, persistence.WaitingKey{Key: "l", Limit: 1})
	e.becomes("w1", stabilize.Canceled)
	e.becomes("w3", stabilize.Canceled)
	list("when only the one with a limit of 2 still does", persistence.WaitingKey{Key: "k", Limit: 2})
	e.Must(e.ask(e.a, "w2", persistence.WaitForPlace, "k", 1), "waiting again, for one place")
	list("when the one who waits did so again", persistence.WaitingKey{Key: "k", Limit: 1})
}
