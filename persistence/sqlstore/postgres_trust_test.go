package sqlstore_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance/sqlharness"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Whether a batch is judged before it is written or only after a write found too
// little, each commit of it comes to the same; the second costs a round trip more.
func TestPostgresJudgedFirstOrAfter(t *testing.T) {
	h := sqlharness.NewPostgres(t, sqlharness.PostgresConfig{DSN: server.DSN(t)})
	s := h.Store().(*sqlstore.Store)
	first := creation("w")
	first.Messages = []queue.Outgoing{message("mine", "w"), message("held", "w")}
	first.Messages[0].MaxAttempts = 1
	commit(t, s, first, creation("left"))
	for _, d := range claim(t, s, "worker", 2) {
		if d.ID == "mine" {
			if err := s.Release(t.Context(), d.Receipt(), time.Time{}, errors.New("it broke")); err != nil {
				t.Fatal(err)
			}
		}
	}
	claim(t, s, "worker", 2) // now "mine" is dead, and a notice of it is held
	at := func(expect int64) *persistence.Commit { return &persistence.Commit{WorkflowID: "w", Expect: expect} }
	for name, of := range map[string]struct {
		commit func() *persistence.Commit
		want   error
		judged bool // always
	}{
		"a version":              {commit: func() *persistence.Commit { return at(7) }, want: stabilize.ErrConflict},
		"a workflow that is not": {commit: func() *persistence.Commit { return &persistence.Commit{WorkflowID: "none", Expect: 1} }, want: stabilize.ErrNotFound},
		"a workflow that is":     {commit: func() *persistence.Commit { return creation("w") }, want: stabilize.ErrExists},
		"a lease": {commit: func() *persistence.Commit {
			c := at(1)
			c.Handled = []queue.Receipt{{ID: "held", Token: "another"}}
			return c
		}, want: stabilize.ErrLeaseLost},
		"an id that lives":    {commit: func() *persistence.Commit { c := at(1); c.Messages = []queue.Outgoing{message("held", "w")}; return c }, want: stabilize.ErrExists},
		"an id that is dead":  {commit: func() *persistence.Commit { c := at(1); c.Messages = []queue.Outgoing{message("mine", "w")}; return c }, want: stabilize.ErrExists},
		"a stage that is not": {commit: func() *persistence.Commit { c := at(1); c.Removed = []string{"none"}; return c }, want: stabilize.ErrInvalid, judged: true},
		"a moved time of birth": {commit: func() *persistence.Commit {
			c := creation("w")
			c.Expect, c.Stages, c.Header.CreatedAt = 1, nil, c.Header.CreatedAt.Add(time.Hour)
			return c
		}, want: stabilize.ErrInvalid},
		"a moved stage": {commit: func() *persistence.Commit {
			c := creation("w")
			c.Expect, c.Header, c.Stages = 1, nil, c.Stages[:1]
			c.Stages[0].Position += 5
			return c
		}, want: stabilize.ErrInvalid},
	} {
		for _, trusting := range []bool{true, false} {
			sqlstore.Trust(s, trusting)
			left, err := s.Summary(t.Context(), "left")
			if err != nil {
				t.Fatal(err)
			}
			before := h.Queries()
			errs := s.CommitBatch(t.Context(), []*persistence.Commit{of.commit(), {WorkflowID: "left", Expect: left.Version}})
			trips := h.Queries() - before
			if !errors.Is(errs[0], of.want) || errs[1] != nil {
				t.Errorf("%s, trusting %v: %v, want %v and none", name, trusting, errs, of.want)
			}
			if w, err := s.Load(t.Context(), "w"); err != nil || w.Version != 1 {
				t.Errorf("%s: the refused commit changed the workflow: %v", name, err)
			}
			if want := map[bool]int{true: 2, false: 1}[trusting && !of.judged]; trips != want {
				t.Errorf("%s, trusting %v, took %d round trips, want %d", name, trusting, trips, want)
			}
		}
	}
}

// After a refusal so many batches are judged first; then the verdict is left out again.
func TestPostgresTrustsAgain(t *testing.T) {
	h := sqlharness.NewPostgres(t, sqlharness.PostgresConfig{DSN: server.DSN(t)})
	s := h.Store().(*sqlstore.Store)
	made := 0
	create := func() *persistence.Commit { made++; return creation(fmt.Sprint("w", made)) }
	wrong := &persistence.Commit{WorkflowID: "none", Expect: 1}
	trips := func(what string, want int, commits ...*persistence.Commit) {
		t.Helper()
		before := h.Queries()
		s.CommitBatch(t.Context(), commits)
		if n := h.Queries() - before; n != want {
			t.Errorf("%s took %d round trips, want %d", what, n, want)
		}
	}
	trips("what nothing stands against", 1, create())
	trips("the first refusal", 2, wrong)
	trips("the next refusal", 1, wrong)
	for range sqlstore.JudgedAfterRefusal {
		trips("what nothing stands against, after a refusal", 1, create())
	}
	trips("a refusal long after the last", 2, wrong)
}
