package queuetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance/internal/kit"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// isolation is the groups IS, BI, CX and CB of the queue.
func isolation() []check {
	return []check{
		clause("IS-02", "Many workers on two handles drain a queue: each message is delivered exactly once while leases hold, and none is missing.", is02),
		clause("IS-03", "A claim does not come back empty merely because it lost a race while another message was ready.", is03),
		clause("IS-04", "One handle shared by 32 goroutines that do everything at once is free of data races and loses nothing.", is04),
		clause("BI-01", "Empty, over-long, NUL-bearing and newline-bearing ids of messages, workflows and workers are ErrInvalid, and nothing is stored.", bi01),
		clause("BI-04", "Query metacharacters in ids and texts are stored and matched literally.", bi04),
		clause("BI-09", "Every error returned matches exactly one class with errors.Is.", bi09),
		clause("CX-01", "Every method called with a canceled context returns an error matching context.Canceled and has done nothing.", cx01),
		clause("CX-05", "After a canceled call the same handle serves the next call.", cx05),
		clause("CX-06", "The methods walked by CX-01 and CB-02 are found by reflection, so that a new one is covered the day it is added.", cx06),
		clause("CB-01", "Closing twice returns nil twice, and leaves the other handles open.", cb01),
		clause("CB-02", "Every method after Close returns ErrClosed.", cb02),
	}
}

func is02(e *env) {
	n := e.Effort.Size(600, 60)
	e.Push(e.a, kit.Numbers(n)...)
	var mu sync.Mutex
	seen := map[string]int{}
	errs := kit.Race(16, func(i int) error {
		q, w := e.both(i), kit.Worker(fmt.Sprint("worker ", i))
		for tries := 0; ; tries++ {
			ds, err := q.Claim(e.Ctx(), w, queue.Room{Control: 1 + i%5})
			if errors.Is(err, stabilize.ErrTransient) && tries < kit.Tries {
				continue
			}
			if err != nil {
				return err
			}
			if len(ds) == 0 {
				return nil
			}
			for _, d := range ds {
				mu.Lock()
				seen[d.ID]++
				mu.Unlock()
			}
			if err := q.Ack(e.Ctx(), receipts(ds)...); err != nil {
				return err
			}
		}
	})
	e.Must(kit.First(errs), "draining the queue")
	for id, times := range seen {
		if times != 1 {
			e.Errorf("%q was delivered %d times", id, times)
		}
	}
	if len(seen) != n {
		e.Errorf("%d messages were delivered, want %d", len(seen), n)
	}
	e.depth(0, 0, 0, 0, "after draining")
}

func receipts(ds []queue.Delivery) []queue.Receipt {
	out := make([]queue.Receipt, len(ds))
	for i, d := range ds {
		out[i] = d.Receipt()
	}
	return out
}

func is03(e *env) {
	const workers = 8
	for round := range e.Effort.Of(25, 4) {
		for i := range workers {
			e.Push(e.a, kit.Send(fmt.Sprintf("%d-%d", round, i)))
		}
		var mu sync.Mutex
		got := map[string]bool{}
		errs := kit.Race(workers, func(i int) error {
			for tries := 0; ; tries++ {
				ds, err := e.both(i).Claim(e.Ctx(), kit.Worker(fmt.Sprint("worker ", i)), queue.Room{Control: 1})
				if errors.Is(err, stabilize.ErrTransient) && tries < kit.Tries {
					continue
				}
				if err != nil {
					return err
				}
				if len(ds) != 1 {
					return fmt.Errorf("with %d messages for %d claims of one each, a claim came back with %d", workers, workers, len(ds))
				}
				mu.Lock()
				defer mu.Unlock()
				got[ds[0].ID] = true
				return nil
			}
		})
		if err := kit.First(errs); err != nil {
			e.Fatalf("round %d: %v", round, err)
		}
		if len(got) != workers {
			e.Fatalf("round %d: %d different messages were delivered to %d workers", round, len(got), workers)
		}
	}
}

func is04(e *env) {
	rounds := e.Effort.Of(6, 2)
	errs := kit.Race(32, func(i int) error {
		ctx, w := e.Ctx(), kit.Worker(fmt.Sprint("worker ", i))
		for r := range rounds {
			id := fmt.Sprintf("w%d", i)
			if err := e.a.Push(ctx, about(id, fmt.Sprintf("%d.%d", i, r)), kit.SendAt(fmt.Sprintf("later %d.%d", i, r), e.Now().Add(time.Hour))); err != nil {
				return fmt.Errorf("pushing: %w", err)
			}
			ds, err := e.a.Claim(ctx, w, queue.Room{Control: 2})
			if err != nil {
				return fmt.Errorf("claiming: %w", err)
			}
			for j, d := range ds {
				switch j {
				case 0:
					err = e.a.Ack(ctx, d.Receipt())
				default:
					err = e.a.Return(ctx, d.Receipt())
				}
				if err != nil {
					return fmt.Errorf("acknowledging or returning: %w", err)
				}
			}
			if _, err := e.a.Heartbeat(ctx, w); err != nil {
				return fmt.Errorf("a heartbeat: %w", err)
			}
			if _, err := e.a.Pending(ctx, id); err != nil {
				return fmt.Errorf("listing: %w", err)
			}
			if _, err := e.a.ListDead(ctx, "", 5); err != nil {
				return fmt.Errorf("listing dead letters: %w", err)
			}
			if _, err := e.a.Depth(ctx); err != nil {
				return fmt.Errorf("counting: %w", err)
			}
			if err := e.a.Retire(ctx, w.ID); err != nil {
				return fmt.Errorf("retiring: %w", err)
			}
		}
		return nil
	})
	e.Must(kit.First(errs), "32 goroutines on one handle")
	d := e.Depth(e.b)
	if d.Delayed != 32*rounds || d.Leased != 0 || d.Dead != 0 {
		e.Errorf("at the end the queue counts %+v, want %d delayed, none leased, none dead", d, 32*rounds)
	}
}

func bi01(e *env) {
	long := strings.Repeat("x", stabilize.MaxIDLength+1)
	for name, id := range map[string]string{"an id of 513 bytes": long, "an id with a NUL": "a\x00b", "an id with a newline": "a\nb", "an id with a carriage return": "a\rb", "an id of invalid UTF-8": "a\xff", "an empty id": ""} {
		if id != "" {
			e.Want(stabilize.ErrInvalid, e.a.Push(e.Ctx(), queue.Outgoing{ID: id, Message: kit.Note("x")}), "pushing with %s", name)
			e.Want(stabilize.ErrInvalid, e.a.Push(e.Ctx(), about(id, "m")), "pushing for a workflow with %s", name)
		}
		_, err := e.a.Claim(e.Ctx(), kit.Worker(id), kit.Plenty())
		e.Want(stabilize.ErrInvalid, err, "claiming as a worker with %s", name)
		_, err = e.a.Heartbeat(e.Ctx(), kit.Worker(id))
		e.Want(stabilize.ErrInvalid, err, "a heartbeat of a worker with %s", name)
	}
	e.depth(0, 0, 0, 0, "after refused pushes")
	most := strings.Repeat("é", stabilize.MaxIDLength/2)
	e.Push(e.a, about(most, most))
	if d := e.ClaimOne(e.b, most); d.ID != most || queue.WorkflowOf(d.Message) != most {
		e.Errorf("ids of the greatest length came back changed")
	}
}

func bi04(e *env) {
	hostile := []string{"'; DROP TABLE messages; --", "%", "_", "$where", `{"$gt":""}`, "../../etc/passwd", `\`, `\'`, "${x}", "?", "$1", ":id", "@p", "NULL", "0", "a\x1fb"}
	for i, t := range hostile {
		e.Push(e.both(i), queue.Outgoing{ID: t, Message: queue.CancelWorkflow{OfWorkflow: queue.ToWorkflow(t), Reason: t, User: t}})
	}
	for _, t := range hostile {
		e.List([]string{t}, e.Pending(e.b, t), "what is pending for %q", t)
	}
	for i, t := range hostile {
		ds := e.ClaimRoom(e.both(i), kit.Worker(t), queue.Room{Control: 1})
		if len(ds) != 1 || ds[0].ID != t || ds[0].Message.(queue.CancelWorkflow).Reason != t {
			e.Fatalf("the worker %q was given %v, want %q", t, kit.IDs(ds), t)
		}
		if held := e.heartbeat(e.a, kit.Worker(t)).Held; !slices.Equal(held, []queue.Receipt{ds[0].Receipt()}) {
			e.Errorf("the worker %q holds %v", t, held)
		}
		if i%2 == 0 {
			e.release(e.a, ds[0], errors.New(t))
			ds = e.ClaimRoom(e.b, kit.Worker(t), queue.Room{Control: 1})
			if len(ds) != 1 || ds[0].ID != t || ds[0].LastError != t {
				e.Fatalf("after releasing %q because of %q the worker was given %+v", t, t, ds)
			}
			e.ack(e.a, ds[0])
		} else {
			e.ack(e.a, ds[0])
		}
	}
}

func bi09(e *env) {
	classes := []error{
		stabilize.ErrInvalid, stabilize.ErrNotFound, stabilize.ErrExists, stabilize.ErrConflict, stabilize.ErrLeaseLost, stabilize.ErrNoPlace,
		stabilize.ErrPlaceFree, stabilize.ErrTooLarge, stabilize.ErrCorrupt, stabilize.ErrClosed, stabilize.ErrTransient, stabilize.ErrUnknownOutcome,
		stabilize.ErrUnsupported, stabilize.ErrSchemaTooNew, stabilize.ErrSchemaMissing, stabilize.ErrInternal, stabilize.ErrFinished, stabilize.ErrPermanent,
	}
	e.Push(e.a, kit.Send("in-use"))
	_, claim := e.a.Claim(e.Ctx(), queue.Worker{ID: "w"}, kit.Plenty())
	_, beat := e.a.Heartbeat(e.Ctx(), queue.Worker{ID: "w"})
	_, list := e.a.ListDead(e.Ctx(), "", 0)
	r := queue.Receipt{ID: "in-use", Token: "x"}
	errs := map[string]error{
		"a claim without a TTL": claim, "a heartbeat without a TTL": beat, "listing no dead letters": list,
		"pushing an id in use": e.a.Push(e.Ctx(), kit.Send("in-use")), "pushing nil": e.a.Push(e.Ctx(), queue.Outgoing{}),
		"acknowledging": e.a.Ack(e.Ctx(), r), "releasing": e.a.Release(e.Ctx(), r, time.Time{}, nil), "returning": e.a.Return(e.Ctx(), r),
		"replaying": e.a.ReplayDead(e.Ctx(), "x"), "discarding": e.a.DiscardDead(e.Ctx(), "x"),
	}
	e.Must(e.h.Close(e.b), "closing")
	errs["pushing through a closed handle"] = e.b.Push(e.Ctx(), kit.Send("y"))
	for doing, err := range errs {
		var of []error
		for _, c := range classes {
			if errors.Is(err, c) {
				of = append(of, c)
			}
		}
		if len(of) != 1 {
			e.Errorf("%s returned %s, which is of the classes %q, want exactly one", doing, kit.Quote(err), of)
		}
	}
}

// calls is one call of every method that takes a context, with a message held
// under the given receipt.
func (e *env) calls(held queue.Receipt) map[string]func(context.Context, queue.Queue) error {
	return map[string]func(context.Context, queue.Queue) error{
		"Push": func(ctx context.Context, q queue.Queue) error { return q.Push(ctx, kit.Send("pushed")) },
		"Claim": func(ctx context.Context, q queue.Queue) error {
			_, err := q.Claim(ctx, kit.Worker("w"), kit.Plenty())
			return err
		},
		"Ack":     func(ctx context.Context, q queue.Queue) error { return q.Ack(ctx, held) },
		"Release": func(ctx context.Context, q queue.Queue) error { return q.Release(ctx, held, time.Time{}, cause()) },
		"Return":  func(ctx context.Context, q queue.Queue) error { return q.Return(ctx, held) },
		"Heartbeat": func(ctx context.Context, q queue.Queue) error {
			_, err := q.Heartbeat(ctx, kit.Worker("owner"))
			return err
		},
		"Retire":      func(ctx context.Context, q queue.Queue) error { return q.Retire(ctx, "owner") },
		"Pending":     func(ctx context.Context, q queue.Queue) error { _, err := q.Pending(ctx, ""); return err },
		"Depth":       func(ctx context.Context, q queue.Queue) error { _, err := q.Depth(ctx); return err },
		"ListDead":    func(ctx context.Context, q queue.Queue) error { _, err := q.ListDead(ctx, "", 5); return err },
		"ReplayDead":  func(ctx context.Context, q queue.Queue) error { return q.ReplayDead(ctx, "dead") },
		"DiscardDead": func(ctx context.Context, q queue.Queue) error { return q.DiscardDead(ctx, "dead") },
	}
}

// scene stores a dead letter, a leased and a ready message.
func (e *env) scene() queue.Receipt {
	e.Helper()
	e.Kill(e.a, "dead")
	e.Push(e.a, kit.Send("leased"))
	d := e.ClaimOne(e.a, "owner")
	e.Push(e.a, kit.Send("ready"))
	return d.Receipt()
}

type sight struct {
	Stored []queue.Stored
	Dead   []queue.DeadLetter
	Depth  queue.Depth
}

func (e *env) see(q queue.Queue) sight {
	e.Helper()
	stored, err := q.Pending(e.Ctx(), "")
	e.Must(err, "listing")
	return sight{stored, e.Dead(q), e.Depth(q)}
}

func cx01(e *env) {
	held := e.scene()
	before := e.see(e.a)
	ctx, cancel := context.WithCancel(e.Ctx())
	cancel()
	for name, call := range e.calls(held) {
		e.Want(context.Canceled, call(ctx, e.a), "%s with a canceled context", name)
		e.Same(before, e.see(e.b), "what is stored after %s with a canceled context", name)
	}
	e.Clock.Advance(kit.TTL) // neither a claim nor a heartbeat renewed anything
	e.List([]string{"leased", "ready"}, kit.IDs(e.Claim(e.b, "other")), "what is delivered when the lease has lapsed")
}

func cx05(e *env) {
	held := e.scene()
	ctx, cancel := context.WithCancel(e.Ctx())
	cancel()
	for name, call := range e.calls(held) {
		if call(ctx, e.a) == nil {
			e.Errorf("%s with a canceled context returned no error", name)
		}
		for i, q := range []queue.Queue{e.a, e.b} {
			if err := q.Push(e.Ctx(), kit.Send(fmt.Sprint(name, i))); err != nil {
				e.Errorf("after %s was canceled, a push returned %v", name, err)
			}
		}
	}
}

func cx06(e *env) {
	calls := e.calls(queue.Receipt{})
	for _, m := range kit.ContextMethods[queue.Queue]() {
		if calls[m] == nil {
			e.Errorf("the suite does not know how to call Queue.%s", m)
		}
		delete(calls, m)
	}
	for m := range calls {
		e.Errorf("the suite calls %s, which Queue does not have", m)
	}
}

func cb01(e *env) {
	for i := range 2 {
		if err := e.h.Close(e.b); err != nil {
			e.Errorf("closing number %d returned %v", i+1, err)
		}
	}
	e.Push(e.a, kit.Send("m"))
	if d := e.ClaimOne(e.h.Reopen(), "worker"); d.ID != "m" {
		e.Errorf("after closing and reopening %q was delivered", d.ID)
	}
}

func cb02(e *env) {
	held := e.scene()
	before := e.see(e.a)
	e.Must(e.h.Close(e.b), "closing")
	for name, call := range e.calls(held) {
		e.Want(stabilize.ErrClosed, call(e.Ctx(), e.b), "%s after Close", name)
	}
	e.Same(before, e.see(e.a), "what the other handle sees after calls on the closed one")
}
