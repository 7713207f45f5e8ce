package engine_test

import (
	"testing"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// TestNotEndedBeforeAThreadBegins: CompleteWorkflow may be handled before the
// StartStage of an execution that has its tokens already. The workflow does not
// end without it.
func TestNotEndedBeforeAThreadBegins(t *testing.T) {
	onStores(t, func(t *testing.T, d data) {
		r := newRig(t, d)
		r.start()
		defer r.close()
		w, err := stabilize.NewWorkflow("app", "wf").Add(stage("A").Do("ok").Threads(2), stage("B", "A").Do("ok")).
			Build(stabilize.NewIDs(stabilize.SystemClock{}, nil), stabilize.SystemClock{}.Now())
		r.must(err)
		w.Status, w.StartedAt = stabilize.Running, w.CreatedAt
		a, b := w.StageByRef("A"), w.StageByRef("B")
		a.Status, a.StartedAt, a.EndedAt = stabilize.Succeeded, w.CreatedAt, w.CreatedAt
		a.Tasks[0].Status, a.Tokens = stabilize.Succeeded, stabilize.Tokens{Kind: stabilize.TokenLive, Threads: 2}
		next := b.Clone()
		next.ID, next.Round, next.Position = "b1", 1, 2
		next.Tasks[0].ID = "b1t"
		next.Note().Consumed = []stabilize.Token{{Ref: "A", Thread: 1}}
		b.Status, b.StartedAt, b.EndedAt = stabilize.Succeeded, w.CreatedAt, w.CreatedAt
		b.Tasks[0].Status = stabilize.Succeeded
		b.Note().Consumed = []stabilize.Token{{Ref: "A"}}
		for _, err := range r.Store().CommitBatch(r.Context(), []*persistence.Commit{{
			WorkflowID: w.ID, Header: &w.Header, Stages: []*stabilize.Stage{a, b, next},
			Messages: []queue.Outgoing{{Message: queue.CompleteWorkflow{OfWorkflow: queue.ToWorkflow(w.ID)}}},
		}}) {
			r.must(err)
		}
		w = r.wait(w.ID)
		r.wantStatus(w, stabilize.Succeeded)
		r.wantStage(w, "B", stabilize.Succeeded, "")
	})
}
