package faults

import (
	"context"
	"runtime/debug"
	"time"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// spared lets a call through unless the handle is dead, and its reply unless it
// died meanwhile.
func spared[R any](s *store, call func() (R, error)) (R, error) {
	var none R
	if s.isDead() {
		return none, errDead
	}
	got, err := caught(s, call)
	if s.isDead() {
		return none, errDead
	}
	return got, err
}

// caught makes an error of a panic of the store, if the plan wants to know of it.
func caught[R any](s *store, call func() (R, error)) (got R, err error) {
	if s.plan.Panicked != nil {
		defer func() {
			if p := recover(); p != nil {
				err = errPanicked
				s.plan.Panicked(p, debug.Stack())
			}
		}()
	}
	return call()
}

// get is spared for calls that may be refused.
func get[R any](s *store, call func() (R, error)) (R, error) {
	return spared(s, func() (R, error) {
		if p := s.plan.RefusedCalls; p > 0 && s.plan.draw(ofCalls, s.calls.Add(1)).Float64() < p {
			var none R
			return none, stabilize.Transient(errRefused)
		}
		return call()
	})
}

// do is get for calls that return an error alone.
func (s *store) do(call func() error) error {
	_, err := get(s, func() (struct{}, error) { return struct{}{}, call() })
	return err
}

func (s *store) doSpared(call func() error) error {
	_, err := spared(s, func() (struct{}, error) { return struct{}{}, call() })
	return err
}

// Load implements persistence.WorkflowStore.
func (s *store) Load(ctx context.Context, id string) (*stabilize.Workflow, error) {
	return get(s, func() (*stabilize.Workflow, error) { return s.under.Load(ctx, id) })
}

// Summary implements persistence.WorkflowStore.
func (s *store) Summary(ctx context.Context, id string) (*stabilize.Header, error) {
	return get(s, func() (*stabilize.Header, error) { return s.under.Summary(ctx, id) })
}

// Query implements persistence.WorkflowStore.
func (s *store) Query(ctx context.Context, q persistence.Query) (persistence.Page, error) {
	return get(s, func() (persistence.Page, error) { return s.under.Query(ctx, q) })
}

// Delete implements persistence.WorkflowStore.
func (s *store) Delete(ctx context.Context, ids ...string) error {
	return s.do(func() error { return s.under.Delete(ctx, ids...) })
}

// Prune implements persistence.WorkflowStore.
func (s *store) Prune(ctx context.Context, finished ...*stabilize.Header) (int, error) {
	return get(s, func() (int, error) { return s.under.Prune(ctx, finished...) })
}

// Admissions implements persistence.WorkflowStore.
func (s *store) Admissions(ctx context.Context, key string) (persistence.Admissions, error) {
	return get(s, func() (persistence.Admissions, error) { return s.under.Admissions(ctx, key) })
}

// Close implements persistence.WorkflowStore.
func (s *store) Close() error {
	_, err := caught(s, func() (struct{}, error) { return struct{}{}, s.under.Close() })
	return err
}

// Ack implements queue.Queue.
func (s *store) Ack(ctx context.Context, receipts ...queue.Receipt) error {
	return s.do(func() error { return s.under.Ack(ctx, receipts...) })
}

// Release implements queue.Queue.
func (s *store) Release(ctx context.Context, r queue.Receipt, at time.Time, cause error) error {
	return s.do(func() error { return s.under.Release(ctx, r, at, cause) })
}

// Return implements queue.Queue.
func (s *store) Return(ctx context.Context, r queue.Receipt) error {
	if s.isDead() {
		return nil
	}
	return s.do(func() error { return s.under.Return(ctx, r) })
}

// Heartbeat implements queue.Queue.
func (s *store) Heartbeat(ctx context.Context, w queue.Worker) (queue.Leases, error) {
	return spared(s, func() (queue.Leases, error) { return s.under.Heartbeat(ctx, w) })
}

// Retire implements queue.Queue.
func (s *store) Retire(ctx context.Context, worker string) error {
	if s.isDead() {
		return nil
	}
	_, err := caught(s, func() (struct{}, error) { return struct{}{}, s.under.Retire(ctx, worker) })
	return err
}

// Pending implements queue.Queue.
func (s *store) Pending(ctx context.Context, workflowID string) ([]queue.Stored, error) {
	return spared(s, func() ([]queue.Stored, error) { return s.under.Pending(ctx, workflowID) })
}

// Depth implements queue.Queue.
func (s *store) Depth(ctx context.Context) (queue.Depth, error) {
	return spared(s, func() (queue.Depth, error) { return s.under.Depth(ctx) })
}

// ListDead implements queue.DeadLetters.
func (s *store) ListDead(ctx context.Context, after string, limit int) ([]queue.DeadLetter, error) {
	return spared(s, func() ([]queue.DeadLetter, error) { return s.under.ListDead(ctx, after, limit) })
}

// ReplayDead implements queue.DeadLetters.
func (s *store) ReplayDead(ctx context.Context, id string) error {
	return s.doSpared(func() error { return s.under.ReplayDead(ctx, id) })
}

// DiscardDead implements queue.DeadLetters.
func (s *store) DiscardDead(ctx context.Context, id string) error {
	return s.doSpared(func() error { return s.under.DiscardDead(ctx, id) })
}
