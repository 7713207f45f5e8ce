package storetest

import (
	"errors"
	"fmt"

	"github.com/stabilize-dev/go-stabilize/conformance/internal/kit"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// once is the group DD of the store: a message is applied once.
func once() []check {
	return []check{
		clause("DD-03", "A commit whose handled message was already acknowledged returns ErrLeaseLost and applies nothing.", dd03),
		clause("DD-04", "Of two workers that commit for the same message at the same time exactly one applies.", dd04),
		clause("OR-05", "Messages pushed in one commit keep their order, and those of commits of one batch the order of the commits.", or05),
	}
}

func dd03(e *env) {
	w := e.create("w", "s")
	e.Push(e.a, kit.Send("m"), kit.Send("n"))
	ds := e.Claim(e.a, "worker")
	done := kit.Update(w, "done", "s")
	done.Handled = []queue.Receipt{ds[0].Receipt()}
	e.commit(e.a, done)
	same := e.unchanged("w")
	again := kit.Update(e.load(e.a, "w"), "again", "s")
	again.Handled, again.Messages = done.Handled, []queue.Outgoing{about("w", "never")}
	e.Want(stabilize.ErrLeaseLost, e.one(e.b, again), "a commit whose message a commit had acknowledged")
	same("after the refused commit")
	e.Must(e.a.Ack(e.Ctx(), ds[1].Receipt()), "acknowledging")
	same = e.unchanged("w")
	again.Handled = []queue.Receipt{ds[1].Receipt()}
	e.Want(stabilize.ErrLeaseLost, e.one(e.b, again), "a commit whose message Ack had acknowledged")
	same("after the refused commit")
	again.Handled = []queue.Receipt{{ID: "never stored", Token: ds[1].Token}}
	e.Want(stabilize.ErrLeaseLost, e.one(e.b, again), "a commit whose message never was")
	same("after the refused commit")
}

func dd04(e *env) {
	for round := range e.Effort.Of(25, 3) {
		// Two workflows, so that the version does not decide, but the message.
		x, y := fmt.Sprintf("x%d", round), fmt.Sprintf("y%d", round)
		e.createAll([]string{x, y}, nil, "s")
		e.Push(e.a, kit.Send(fmt.Sprintf("m%d", round)))
		first := e.ClaimOne(e.a, "first")
		e.Lapse()
		second := first
		if round%2 == 0 { // a second holder, or two copies of one delivery
			second = e.ClaimOne(e.b, "second")
		}
		errs := kit.Race(2, func(i int) error {
			d := []queue.Delivery{first, second}[i]
			h := kit.Workflow([]string{x, y}[i], e.Now()).Header
			return e.one(e.both(i), &persistence.Commit{WorkflowID: h.ID, Expect: 1, Handled: []queue.Receipt{d.Receipt()},
				Messages: []queue.Outgoing{about(h.ID, h.ID+" applied")}})
		})
		applied := 0
		for i, id := range []string{x, y} {
			did := e.summary(e.a, id).Version == 2
			if did != (errs[i] == nil) || did != (len(e.Pending(e.a, id)) == 1) {
				e.Fatalf("round %d: the commit on %s returned %s, but applied: %t", round, id, kit.Quote(errs[i]), did)
			}
			if did {
				applied++
			} else if !errors.Is(errs[i], stabilize.ErrLeaseLost) {
				e.Fatalf("round %d: the commit on %s returned %s, want a lost lease", round, id, kit.Quote(errs[i]))
			}
		}
		if applied != 1 {
			e.Fatalf("round %d: %d of two commits for one message applied", round, applied)
		}
		for _, d := range e.Claim(e.a, "sweeper") {
			e.Must(e.a.Ack(e.Ctx(), d.Receipt()), "acknowledging")
		}
		e.Must(e.a.Retire(e.Ctx(), "first"), "retiring")
		e.Must(e.a.Retire(e.Ctx(), "second"), "retiring")
	}
}

func or05(e *env) {
	var want []string
	var cs []*persistence.Commit
	for i := range 4 {
		id := fmt.Sprintf("w%d", i)
		c := kit.Creation(kit.Workflow(id, e.Now(), "s"))
		for j := range 25 {
			text := fmt.Sprintf("%d-%d", 9-i, (j*7)%25) // neither ids nor texts ascend
			want = append(want, text)
			if j%2 == 0 {
				c.Messages = append(c.Messages, about(id, text))
			} else {
				c.Messages = append(c.Messages, kit.Send(text))
			}
		}
		cs = append(cs, c)
	}
	e.commitAll(e.a, cs)
	e.List(want, kit.IDs(e.Claim(e.b, "worker")), "the order of messages of four commits of one batch")
}
