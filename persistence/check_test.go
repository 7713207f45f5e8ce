package persistence_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

func TestACommitIsCheckedAgainstWhatIsStored(t *testing.T) {
	header := &stabilize.Header{ID: "w", CreatedAt: at(1).Add(10)}
	for _, c := range []struct {
		expect, version int64
		created         time.Time
		want            error
	}{
		{0, 0, time.Time{}, nil},
		{0, 1, at(1), stabilize.ErrExists},
		{3, 0, time.Time{}, stabilize.ErrNotFound},
		{3, 3, at(1), nil},
		{3, 4, at(1), stabilize.ErrConflict},
		{3, 2, at(1), stabilize.ErrConflict},
		{3, 3, at(2), stabilize.ErrInvalid},
	} {
		commit := persistence.Commit{WorkflowID: "w", Expect: c.expect, Header: header}
		err := commit.CheckVersion(c.version, c.created)
		if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("expecting %d, stored %d of %s: %v, want %v", c.expect, c.version, c.created, err, c.want)
		}
		var conflict *stabilize.ConflictError
		if errors.As(err, &conflict) && (conflict.Expected != c.expect || conflict.Actual != c.version || conflict.WorkflowID != "w") {
			t.Errorf("the conflict says %+v", conflict)
		}
	}
}

func TestAStageKeepsWhatCannotChange(t *testing.T) {
	stored := stabilize.Stage{ID: "s", Ref: "a", Round: 1, Position: 2}
	same := stored
	same.Status = stabilize.Running
	if err := persistence.CheckStage(&stored, &same); err != nil {
		t.Error(err)
	}
	for _, change := range []func(*stabilize.Stage){
		func(s *stabilize.Stage) { s.Ref = "b" },
		func(s *stabilize.Stage) { s.Round = 0 },
		func(s *stabilize.Stage) { s.Position = 3 },
	} {
		s := stored
		change(&s)
		if err := persistence.CheckStage(&stored, &s); !errors.Is(err, stabilize.ErrInvalid) {
			t.Errorf("%+v: %v", s, err)
		}
	}
}

func TestACommitFreesWhatItRemoves(t *testing.T) {
	c := persistence.Commit{Handled: []queue.Receipt{{ID: "a", Token: "t"}}, Discard: []string{"b"}}
	if !c.Frees("a") || !c.Frees("b") || c.Frees("c") {
		t.Error("a commit frees what it handles and discards, and nothing else")
	}
}

func TestACommitIsEncoded(t *testing.T) {
	ids := stabilize.NewIDs(stabilize.NewManualClock(at(0)), nil)
	zone := time.FixedZone("", 3600)
	c := &persistence.Commit{
		WorkflowID: "w", Expect: 1,
		Header: &stabilize.Header{ID: "w", CreatedAt: at(1).In(zone).Add(7)},
		Stages: []*stabilize.Stage{{ID: "s", Ref: "a", StartedAt: at(2).In(zone).Add(7)}},
		Messages: []queue.Outgoing{
			{Message: queue.StartWorkflow{OfWorkflow: queue.ToWorkflow("w")}},
			{ID: "m", MaxAttempts: 3, Message: queue.RunTask{OfTask: queue.ToTask("w", "s", "t")}},
		},
	}
	e, err := c.Encode(ids, 0)
	if err != nil {
		t.Fatal(err)
	}
	h, err := persistence.DecodeHeader("w", 1, e.Header)
	if err != nil || h.CreatedAt != at(1) {
		t.Errorf("created at %v, %v", h.CreatedAt, err)
	}
	s, err := persistence.DecodeStage("s", 1, e.Stages[0])
	if err != nil || s.StartedAt != at(2) {
		t.Errorf("started at %v, %v", s.StartedAt, err)
	}
	if c.Header.CreatedAt != at(1).In(zone).Add(7) || c.Stages[0].StartedAt != at(2).In(zone).Add(7) {
		t.Error("the commit was changed")
	}
	first, second := e.Messages[0], e.Messages[1]
	if first.ID == "" || first.Given || first.MaxAttempts != queue.DefaultMaxAttempts || first.Lane != queue.Control || first.WorkflowID != "w" {
		t.Errorf("the first message is %+v", first)
	}
	if second.ID != "m" || !second.Given || second.MaxAttempts != 3 || second.Lane != queue.Work || len(second.Body) == 0 {
		t.Errorf("the second message is %+v", second)
	}

	for what, max := range map[string]int{"header": len(e.Header), "stage": len(e.Stages[0]), "message": len(second.Body)} {
		d := *c
		switch what {
		case "header":
			d.Stages, d.Messages = nil, nil
		case "stage":
			d.Header, d.Messages = nil, nil
		default:
			d.Header, d.Stages, d.Messages = nil, nil, c.Messages[1:]
		}
		if _, err := d.Encode(ids, int64(max)); err != nil {
			t.Errorf("a %s as large as may be: %v", what, err)
		}
		if _, err := d.Encode(ids, int64(max)-1); !errors.Is(err, stabilize.ErrTooLarge) {
			t.Errorf("a %s a byte too large: %v", what, err)
		}
	}
	if _, err := (*persistence.Commit)(nil).Encode(ids, 0); !errors.Is(err, stabilize.ErrInvalid) {
		t.Errorf("no commit: %v", err)
	}
}

func TestAPushTakesNoLease(t *testing.T) {
	out := []queue.Outgoing{{Message: queue.StartWorkflow{OfWorkflow: queue.ToWorkflow("w")}}}
	if c, err := persistence.NewPush(out); err != nil || c.WorkflowID != "" || len(c.Messages) != 1 {
		t.Errorf("%+v, %v", c, err)
	}
	out[0].Lease = &queue.Lease{Worker: "w", Token: "t"}
	if _, err := persistence.NewPush(out); !errors.Is(err, stabilize.ErrInvalid) {
		t.Errorf("with a lease: %v", err)
	}
}

func TestAnAdmissionIsDecidedByWhoCounts(t *testing.T) {
	now := persistence.Admissions{Holding: []string{"h"}, Waiting: []string{"a", "b"}}
	for _, c := range []struct {
		name  string
		id    string
		op    persistence.AdmissionOp
		limit int
		want  error
	}{
		{"a holder takes again", "h", persistence.TakePlace, 1, nil},
		{"none is free", "a", persistence.TakePlace, 1, stabilize.ErrNoPlace},
		{"the first takes the free one", "a", persistence.TakePlace, 2, nil},
		{"the second does not", "b", persistence.TakePlace, 2, stabilize.ErrNoPlace},
		{"who does not wait stands behind all", "x", persistence.TakePlace, 3, stabilize.ErrNoPlace},
		{"there is one for everybody", "x", persistence.TakePlace, 4, nil},
		{"there is no limit", "x", persistence.TakePlace, 0, nil},
		{"it waits", "x", persistence.WaitForPlace, 3, nil},
		{"it goes on waiting", "a", persistence.WaitForPlace, 1, nil},
		{"nobody waits beside a free place", "a", persistence.WaitForPlace, 2, stabilize.ErrPlaceFree},
		{"nobody waits without a limit", "x", persistence.WaitForPlace, 0, stabilize.ErrPlaceFree},
		{"it gives back what it has not", "x", persistence.LeavePlace, 1, nil},
	} {
		a := persistence.Admission{Op: c.op, Key: "k", Limit: c.limit}
		err := a.Check(c.id, now)
		if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		want := stabilize.AdmissionError{Key: "k", WorkflowID: c.id, Limit: c.limit, Holding: 1, Free: c.want == stabilize.ErrPlaceFree}
		var refused *stabilize.AdmissionError
		if errors.As(err, &refused) && *refused != want {
			t.Errorf("%s: the error says %+v, want %+v", c.name, *refused, want)
		}
	}
}

func TestACommitsStagesAreCheckedAgainstStoredBodies(t *testing.T) {
	body, err := persistence.EncodeStage(&stabilize.Stage{ID: "s", Ref: "a"})
	if err != nil {
		t.Fatal(err)
	}
	stored := func(id string) []byte { return map[string][]byte{"s": body, "broken": []byte("?")}[id] }
	stage := func(id, ref string) []*stabilize.Stage { return []*stabilize.Stage{{ID: id, Ref: ref}} }
	for name, c := range map[string]struct {
		commit persistence.Commit
		want   error
	}{
		"the same":          {persistence.Commit{Stages: stage("s", "a")}, nil},
		"a new one":         {persistence.Commit{Stages: stage("n", "n")}, nil},
		"another ref":       {persistence.Commit{Stages: stage("s", "b")}, stabilize.ErrInvalid},
		"unreadable":        {persistence.Commit{Stages: stage("broken", "a")}, stabilize.ErrCorrupt},
		"removed":           {persistence.Commit{Removed: []string{"s"}}, nil},
		"removed, unknown":  {persistence.Commit{Removed: []string{"n"}}, stabilize.ErrInvalid},
		"removed, one of 2": {persistence.Commit{Removed: []string{"s", "n"}}, stabilize.ErrInvalid},
	} {
		if err := c.commit.CheckStages(stored); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}
