package enginebench

import (
	"context"
	"errors"
	"time"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/memstore"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// memoryLimit is CommitBatch of the memory store.
type memoryLimit struct {
	store *memstore.Store
	work  rawSteps
	ready bool
}

const rawWorker, rawToken = "worker", "token"

func newMemoryLimit() *memoryLimit {
	return &memoryLimit{store: memstore.New(memstore.Config{}), work: rawSteps{workflows: rawWorkflows(stabilize.SystemClock{}.Now())}}
}

func (l *memoryLimit) close() error { return l.store.Close() }

func (l *memoryLimit) steps(ctx context.Context, n, size int) error {
	if !l.ready {
		if err := l.fill(ctx); err != nil {
			return err
		}
		l.ready = true
	}
	commits := make([]*persistence.Commit, 0, size)
	for n > 0 {
		commits = commits[:0]
		for range min(n, size) {
			s := l.work.step()
			commits = append(commits, &persistence.Commit{
				WorkflowID: s.workflow.ID, Expect: s.version, Stages: s.stages,
				Handled:  []queue.Receipt{{ID: s.old, Token: rawToken}},
				Messages: []queue.Outgoing{{ID: s.new, Message: s.message, Lease: &queue.Lease{Worker: rawWorker, Token: rawToken}}},
			})
		}
		if err := errors.Join(l.store.CommitBatch(ctx, commits)...); err != nil {
			return err
		}
		n -= len(commits)
	}
	return nil
}

func (l *memoryLimit) fill(ctx context.Context) error {
	if _, err := l.store.Heartbeat(ctx, queue.Worker{ID: rawWorker, TTL: 24 * time.Hour}); err != nil {
		return err
	}
	for _, w := range l.work.workflows {
		first := queue.RunTask{OfTask: queue.ToTask(w.ID, w.Stages[0].ID, w.Stages[0].Tasks[0].ID)}
		err := errors.Join(l.store.CommitBatch(ctx, []*persistence.Commit{{
			WorkflowID: w.ID, Header: &w.Header, Stages: w.Stages,
			Messages: []queue.Outgoing{{ID: rawMessage(w, 0), Message: first, Lease: &queue.Lease{Worker: rawWorker, Token: rawToken}}},
		}})...)
		if err != nil {
			return err
		}
	}
	return nil
}
