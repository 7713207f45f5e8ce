package storetest

import (
	"errors"
	"fmt"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/internal/kit"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// prunes are clauses about pruning: deletion on condition.
func prunes() []check {
	return []check{
		clause("RT-28", "Pruning removes finished workflows with all that is theirs, each once, and tells how many; one that is not finished is ErrInvalid, and then none is removed.", rt28),
		clause("RT-29", "A workflow that was changed since its header was read, or deleted and made again, is not pruned: look at version and creation time.", rt29),
		clause("RT-30", "A workflow is not pruned while a message or a dead letter is addressed to it, whether the message is ready, delayed or leased.", rt30),
		clause("OC-17", "Of a commit and a pruning of the same version, over two handles, exactly one succeeds: the commit applies and the workflow stays whole, or it returns ErrNotFound and nothing is left.", oc17),
	}
}

// finished stores workflows that ended, and returns their headers as read.
func (e *env) finished(ids ...string) []*stabilize.Header {
	e.Helper()
	e.createAll(ids, func(w *stabilize.Workflow) { w.Status, w.EndedAt = stabilize.Succeeded, e.Now() }, "s1", "s2")
	var out []*stabilize.Header
	for _, id := range ids {
		out = append(out, e.summary(e.a, id))
	}
	return out
}

func (e *env) prunes(want int, s persistence.Store, what string, finished ...*stabilize.Header) {
	e.Helper()
	n, err := s.Prune(e.Ctx(), finished...)
	e.Must(err, "pruning %s", what)
	if n != want {
		e.Errorf("pruning %s removed %d workflows, want %d", what, n, want)
	}
}

func rt28(e *env) {
	rows := func() map[string]int { return nil }
	if counter, ok := conformance.Find[conformance.RowCounter](e.h); ok {
		rows = func() map[string]int {
			n, err := counter.Rows(e.Ctx())
			e.Must(err, "counting rows")
			return n
		}
	}
	stays := e.finished("stays", "stays too")
	e.hold("keeper", "one place", 1)
	before := rows()
	var all []*stabilize.Header
	for _, s := range stabilize.Statuses() {
		id := "is " + s.String()
		e.createAll([]string{id}, func(w *stabilize.Workflow) { w.Status = stabilize.Running }, "s1", "s2")
		e.Must(e.take(id, "places", 0), "taking a place")
		e.becomes(id, s)
		h := e.summary(e.a, id)
		if !s.IsComplete() {
			_, err := e.b.Prune(e.Ctx(), stays[0], h)
			e.Want(stabilize.ErrInvalid, err, "pruning a workflow that is %s", s)
			e.load(e.a, stays[0].ID)
			e.Must(e.a.Delete(e.Ctx(), id), "deleting")
			continue
		}
		all = append(all, h)
	}
	gone := &stabilize.Header{ID: "nobody", Version: 1, Status: stabilize.Succeeded, CreatedAt: e.Now()}
	e.prunes(0, e.b, "nothing")
	e.prunes(0, e.b, "what is not there", gone)
	e.prunes(len(all), e.b, "finished workflows, one of them named twice, and one that is not there", append(all, all[0], gone)...)
	for _, h := range all {
		e.absent(e.a, h.ID, "it was pruned")
	}
	e.List(nil, e.admissions(e.a, "places").Holding, "who holds a place after the pruning")
	e.Same(before, rows(), "the rows after the pruning")
	for _, h := range stays {
		if got := e.load(e.a, h.ID); len(got.Stages) != 2 || got.Version != h.Version {
			e.Errorf("%s is at version %d with %d stages after others were pruned", h.ID, got.Version, len(got.Stages))
		}
	}
	_, err := e.b.Prune(e.Ctx(), nil, stays[0])
	e.Want(stabilize.ErrInvalid, err, "pruning a header that is nil")
	e.prunes(2, e.a, "the rest", stays...)
}

func rt29(e *env) {
	read := e.finished("changed", "again", "as it was")
	e.commit(e.b, kit.Update(e.load(e.b, "changed"), "restarted", "s1"))
	e.Must(e.b.Delete(e.Ctx(), "again"), "deleting")
	e.Clock.Advance(time.Second)
	e.finished("again")
	e.prunes(1, e.a, "three workflows of which one was changed and one made again", read...)
	e.absent(e.b, "as it was", "it was pruned")
	if got := e.load(e.b, "changed"); kit.Says(got.StageByRef("s1")) != "restarted" {
		e.Errorf("the workflow that was changed says %q", kit.Says(got.StageByRef("s1")))
	}
	e.load(e.b, "again")
	e.prunes(2, e.b, "them as they are now", e.summary(e.a, "changed"), e.summary(e.a, "again"))
}

func rt30(e *env) {
	read := e.finished("ready", "delayed", "leased", "dead", "nothing")
	e.Push(e.a, about("leased", "m-leased"))
	leased := e.ClaimOne(e.a, "holder")
	delayed := about("delayed", "m-delayed")
	delayed.At = e.Now().Add(time.Hour)
	e.Push(e.a, delayed, about("ready", "m-ready"))
	doomed := about("dead", "m-dead")
	doomed.MaxAttempts = 1
	e.Push(e.a, doomed)
	for _, d := range e.Claim(e.a, "killer") {
		if d.ID != doomed.ID {
			e.Must(e.a.Return(e.Ctx(), d.Receipt()), "returning")
			continue
		}
		e.Must(e.a.Release(e.Ctx(), d.Receipt(), time.Time{}, errors.New("it broke")), "releasing")
	}
	for _, d := range e.Claim(e.a, "killer") { // with this one it dies, and its workflow is told
		if d.Message.(queue.Addressed).Workflow() == "dead" {
			e.Must(e.a.Ack(e.Ctx(), d.Receipt()), "acknowledging the notice")
			continue
		}
		e.Must(e.a.Return(e.Ctx(), d.Receipt()), "returning")
	}
	e.List([]string{doomed.ID}, e.DeadIDs(e.a), "the dead letters")
	e.List(nil, e.Pending(e.a, "dead"), "the messages of the workflow with the dead letter")
	e.prunes(1, e.b, "five workflows of which four have something addressed to them", read...)
	e.absent(e.a, "nothing", "it was pruned")
	e.List([]string{"m-ready"}, e.Pending(e.b, "ready"), "the ready message")
	e.List([]string{"m-delayed"}, e.Pending(e.b, "delayed"), "the delayed message")

	e.Must(e.a.Ack(e.Ctx(), leased.Receipt()), "acknowledging")
	e.Must(e.a.DiscardDead(e.Ctx(), doomed.ID), "discarding the dead letter")
	e.prunes(2, e.b, "them when the leased message and the dead letter are gone", read...)
}

func oc17(e *env) {
	for round := range e.Effort.Of(40, 3) {
		id := fmt.Sprintf("race%d", round)
		read := e.finished(id)[0]
		w := e.load(e.a, id)
		c := kit.Update(w, "restarted", "s1")
		c.Messages = []queue.Outgoing{about(id, id+"-m")}
		removed, lost := 0, false
		errs := kit.Race(2, func(i int) (err error) {
			if i == 0 {
				removed, err = e.both(round).Prune(e.Ctx(), read)
				return err
			}
			if err = e.one(e.both(round+1), c); errors.Is(err, stabilize.ErrNotFound) {
				lost, err = true, nil
			}
			return err
		})
		e.Must(kit.First(errs), "pruning %s while it is committed to", id)
		if lost != (removed == 1) {
			e.Errorf("%d workflows were pruned, and it is %t that the commit found none", removed, lost)
		}
		if lost {
			e.absent(e.a, id, "it was pruned")
			e.List(nil, e.Pending(e.a, id), "the messages of a workflow that was pruned")
			continue
		}
		got, err := e.a.Load(e.Ctx(), id)
		if err != nil || got.Version != 2 || len(got.Stages) != 2 || kit.Says(got.StageByRef("s1")) != "restarted" {
			e.Errorf("after a commit that succeeded %s is loaded as %s", id, kit.Quote(err))
		}
		e.List([]string{id + "-m"}, e.Pending(e.a, id), "the messages of a workflow that was committed to")
		e.Must(e.a.Delete(e.Ctx(), id), "deleting")
	}
}
