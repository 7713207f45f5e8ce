package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/internal/kit"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// isolation are the groups IS and LP of the store: concurrent use, large payloads.
func isolation() []check {
	return []check{
		clause("IS-01", "A load is one consistent snapshot: with writers that change stages A and B together, a reader never sees them differ.", is01),
		clause("IS-04", "One handle shared by 32 goroutines that do everything at once is free of data races and loses nothing.", is04),
		clause("IS-05", "Two handles on the same data behave as one: what was written through one is seen through the other at once.", is05),
		clause("LP-01", "A context of 1 MiB and one of 10 MiB come back, unless they are over the declared maximum.", lp01),
		clauseFor(conformance.CanLimit, "LP-02", "A payload over the declared maximum returns ErrTooLarge with both numbers and writes nothing.", lp02),
		clause("LP-03", "A workflow of 1,000 stages with 3 tasks each is created, read and deleted, in a bounded number of round trips where they can be counted.", lp03),
		clause("LP-06", "Errors about a large payload do not contain the payload.", lp06),
	}
}

func is01(e *env) {
	e.create("w", "A", "between", "B")
	rounds := e.Effort.Of(60, 10)
	var writing atomic.Int32
	writing.Store(2)
	var wrong atomic.Pointer[string]
	errs := kit.Race(5, func(i int) error {
		s := e.both(i)
		if i < 2 {
			defer writing.Add(-1)
			for n := range rounds {
				says := fmt.Sprintf("%d-%d", i, n)
				if err := e.retry(e.Ctx(), s, "w", func(w *stabilize.Workflow) *persistence.Commit { return kit.Update(w, says, "A", "B") }); err != nil {
					return err
				}
			}
			return nil
		}
		for more := true; more && wrong.Load() == nil; {
			more = writing.Load() > 0 // one last look after the writers are done
			w, err := s.Load(e.Ctx(), "w")
			if err != nil {
				return err
			}
			a, b := w.Stages[0], w.Stages[2]
			if kit.Says(a) != kit.Says(b) || kit.Says(a) != w.Reason || a.Version != b.Version || a.Version != w.Version {
				text := fmt.Sprintf("a reader saw A as %q of version %d, B as %q of version %d, the header as %q of version %d", kit.Says(a), a.Version, kit.Says(b), b.Version, w.Reason, w.Version)
				wrong.Store(&text)
			}
		}
		return nil
	})
	e.Must(kit.First(errs), "writing and reading at the same time")
	if text := wrong.Load(); text != nil {
		e.Errorf("%s", *text)
	}
	if got := e.load(e.a, "w").Version; got != int64(2*rounds)+1 {
		e.Errorf("%d commits left version %d", 2*rounds, got)
	}
}

func is04(e *env) { e.crowd(e.Ctx(), e.a, 32) }

// crowd has n goroutines do everything at once on one handle.
func (e *env) crowd(ctx context.Context, s persistence.Store, n int) {
	e.Helper()
	own := kit.Numbered("w%d", n)
	e.createAll(append(own, "shared"), nil, "s")
	rounds := e.Effort.Of(6, 2)
	errs := kit.Race(n, func(i int) error {
		for r := range rounds {
			says := fmt.Sprintf("%d.%d", i, r)
			if err := s.Push(ctx, about(own[i], says)); err != nil {
				return fmt.Errorf("pushing: %w", err)
			}
			ds, err := s.Claim(ctx, kit.Worker(own[i]), queue.Room{Control: 3})
			if err != nil {
				return fmt.Errorf("claiming: %w", err)
			}
			if err := e.retry(ctx, s, own[i], func(w *stabilize.Workflow) *persistence.Commit {
				c := kit.Update(w, says, "s")
				for _, d := range ds {
					c.Handled = append(c.Handled, d.Receipt())
				}
				return c
			}); err != nil {
				return fmt.Errorf("committing: %w", err)
			}
			if _, err := s.Load(ctx, "shared"); err != nil {
				return fmt.Errorf("loading: %w", err)
			}
			if _, err := s.Query(ctx, persistence.Query{Limit: 5}); err != nil {
				return fmt.Errorf("querying: %w", err)
			}
			if _, err := s.Heartbeat(ctx, kit.Worker(own[i])); err != nil {
				return fmt.Errorf("a heartbeat: %w", err)
			}
			if _, err := s.Depth(ctx); err != nil {
				return fmt.Errorf("reading the depth: %w", err)
			}
			if _, err := s.Pending(ctx, own[i]); err != nil {
				return fmt.Errorf("listing: %w", err)
			}
		}
		return nil
	})
	e.Must(kit.First(errs), "%d goroutines on one handle", n)
	for i, id := range own {
		if h := e.summary(s, id); h.Version != int64(rounds)+1 || h.Reason != fmt.Sprintf("%d.%d", i, rounds-1) {
			e.Errorf("%s is at version %d and says %q after %d commits", id, h.Version, h.Reason, rounds)
		}
	}
	left := e.Claim(s, "sweeper")
	if d := e.Depth(s); d.Leased != len(left) || d.Ready != 0 {
		e.Errorf("at the end the queue holds %+v, of which %d could be claimed", d, len(left))
	}
}

func is05(e *env) {
	for i := range 6 {
		x, y := e.both(i), e.both(i+1)
		id := fmt.Sprintf("w%d", i)
		e.commit(x, kit.Creation(kit.Workflow(id, e.Now(), "s")))
		w := e.load(y, id)
		e.commit(y, kit.Update(w, "two", "s"))
		if got := e.load(x, id); got.Version != 2 || kit.Says(got.Stages[0]) != "two" {
			e.Errorf("what one handle committed is seen through the other as version %d and %q", got.Version, kit.Says(got.Stages[0]))
		}
		e.Want(stabilize.ErrConflict, e.one(x, kit.Update(w, "stale", "s")), "a stale commit through the first handle")
		e.Want(stabilize.ErrExists, e.one(y, kit.Creation(kit.Workflow(id, e.Now()))), "creating through the second handle what exists")
		e.Push(x, about(id, id+"-m"))
		e.List([]string{id + "-m"}, e.Pending(y, id), "what is pending, seen through the other handle")
		d := e.ClaimOne(y, "worker of y")
		e.ClaimNone(x, "worker of x", "it is leased through the other handle")
		c := kit.Update(e.load(x, id), "three", "s")
		c.Handled, c.Admission = []queue.Receipt{d.Receipt()}, place(persistence.TakePlace, "k", 10)
		e.commit(x, c)
		e.Want(stabilize.ErrLeaseLost, y.Ack(e.Ctx(), d.Receipt()), "acknowledging what a commit through the other handle did")
		if !slices.Contains(e.admissions(y, "k").Holding, id) {
			e.Errorf("a place taken through one handle is not seen through the other")
		}
		if !slices.Contains(e.query(persistence.Query{}), id) {
			e.Errorf("%s is not found through the second handle", id)
		}
		e.Must(x.Delete(e.Ctx(), id), "deleting")
		e.absent(y, id, "it was deleted through the other handle")
	}
}

func lp01(e *env) {
	sizes := []int{1 << 20, 10 << 20}
	if e.Effort == conformance.Least {
		sizes = []int{1 << 16}
	}
	for i, size := range sizes {
		text := strings.Repeat("0123456789abcdef", size/16)
		w := kit.Workflow(fmt.Sprintf("w%d", i), e.Now(), "s")
		w.Stages[0].Context = stabilize.Values{"large": kit.Text(text)}
		err := e.one(e.a, kit.Creation(w))
		if l, ok := conformance.Find[conformance.Limiter](e.h); ok && errors.Is(err, stabilize.ErrTooLarge) && int64(size) >= l.MaxPayload() {
			continue
		}
		e.Must(err, "storing a context of %d KiB", size>>10)
		if got := e.load(e.b, w.ID); string(got.Stages[0].Context["large"]) != `"`+text+`"` {
			e.Errorf("a context of %d KiB came back with %d bytes", size>>10, len(got.Stages[0].Context["large"]))
		}
	}
}

func lp02(e *env) {
	most := power[conformance.Limiter](e).MaxPayload()
	w := kit.Workflow("w", e.Now(), "s")
	w.Stages[0].Context = stabilize.Values{"large": kit.Text(strings.Repeat("x", int(most)))}
	c := kit.Creation(w)
	c.Messages = []queue.Outgoing{about("w", "m")}
	var large *stabilize.TooLargeError
	err := e.one(e.a, c)
	e.Want(stabilize.ErrTooLarge, err, "storing more than %d bytes", most)
	if !errors.As(err, &large) || large.Max != most || large.Size <= most {
		e.Errorf("the error is %+v, which does not carry both numbers", large)
	}
	e.absent(e.b, "w", "it was too large")
	e.ClaimNone(e.b, "worker", "the commit was too large")
}

func lp03(e *env) {
	n := e.Effort.Size(1000, 30)
	w := kit.Workflow("w", e.Now(), kit.Numbered("s%d", n)...)
	for _, s := range w.Stages {
		for i := 1; i < 3; i++ {
			s.Tasks = append(s.Tasks, &stabilize.Task{ID: fmt.Sprintf("%s/%d", s.ID, i), Type: "x", Position: i})
		}
	}
	counter, counts := conformance.Find[conformance.QueryCounter](e.h)
	trips := func(doing string, f func()) {
		before := 0
		if counts {
			before = counter.Queries()
		}
		f()
		if counts {
			if got := counter.Queries() - before; got > 60 {
				e.Errorf("%s %d stages took %d round trips", doing, n, got)
			}
		}
	}
	trips("creating", func() { e.commit(e.a, kit.Creation(w)) })
	trips("reading", func() { e.Same(stored(w, 1), e.load(e.a, "w"), "a workflow of %d stages", n) })
	trips("deleting", func() { e.Must(e.a.Delete(e.Ctx(), "w"), "deleting") })
	e.absent(e.b, "w", "it was deleted")
}

func lp06(e *env) {
	secret := strings.Repeat("payload-", 200)
	w := kit.Workflow("w", e.Now(), "s")
	w.Stages[0].Context, w.Context = stabilize.Values{"k": kit.Text(secret)}, stabilize.Values{"k": kit.Text(secret)}
	e.commit(e.a, kit.Creation(w))
	stale := kit.Creation(w)
	stale.Expect = 9
	msg := queue.Outgoing{ID: "m", Message: kit.Note(secret)}
	e.Push(e.a, msg)
	broken := kit.Creation(kit.Workflow("x", e.Now(), "s"))
	broken.Header.Context = stabilize.Values{"k": []byte(`"` + secret)}
	bad := kit.Creation(kit.Workflow("y", e.Now(), "s"))
	bad.Header.Reason = secret + "\xff"
	errs := e.a.CommitBatch(e.Ctx(), []*persistence.Commit{kit.Creation(w), stale, {Messages: []queue.Outgoing{msg}}, broken, bad})
	for i, err := range errs {
		if err == nil {
			e.Errorf("commit %d of a batch of refused ones succeeded", i)
		} else if strings.Contains(err.Error(), "payload-payload-") {
			e.Errorf("the error holds the payload: %.200s", err)
		}
	}
}
