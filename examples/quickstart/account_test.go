package main

import (
	"strings"
	"testing"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

func stageWith(t *testing.T, ref, run string) *stabilize.Stage {
	t.Helper()
	s := &stabilize.Stage{ID: ref, Ref: ref, Status: stabilize.Succeeded, Tasks: []*stabilize.Task{{ID: ref + "-task", Status: stabilize.Succeeded}}}
	if run != "" {
		if err := s.Outputs.Set(ref, finding{Run: run}); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func TestAccount(t *testing.T) {
	w := &stabilize.Workflow{Header: stabilize.Header{ID: "w"}}
	w.Stages = []*stabilize.Stage{stageWith(t, "a", "run-1"), stageWith(t, "b", "run-3")}
	lines := []entry{
		{Run: "run-1", Workflow: "w", Key: "a-task", Stage: "a", Attempt: 1, Process: 10},
		{Run: "run-2", Workflow: "w", Key: "b-task", Stage: "b", Attempt: 1, Process: 10},
		{Run: "run-3", Workflow: "w", Key: "b-task", Stage: "b", Attempt: 2, Process: 11},
		{Run: "run-9", Workflow: "another", Key: "x", Stage: "a", Attempt: 1, Process: 9},
	}
	a := settle(w, lines)
	if a.Err() != nil || a.Once != 1 || len(a.Again) != 1 {
		t.Fatalf("%+v", a)
	}
	if want := "b: attempt 1 in process 10 cut off; attempt 2 in process 11 committed;"; !strings.Contains(a.String(), want) {
		t.Errorf("%q is not in:\n%s", want, a)
	}
}

func TestAccountFindsBrokenPromises(t *testing.T) {
	line := entry{Run: "run-1", Workflow: "w", Key: "a-task", Stage: "a", Attempt: 1}
	unknown := entry{Run: "run-2", Workflow: "w", Key: "lost-task", Stage: "lost", Attempt: 1}
	cases := map[string]struct {
		stage *stabilize.Stage
		lines []entry
		says  string
	}{
		"result of no execution": {stageWith(t, "a", "run-7"), []entry{line}, "none of its executions gave"},
		"succeeded without one":  {stageWith(t, "a", ""), []entry{line}, "without a result"},
		"task that is not known": {stageWith(t, "a", "run-1"), []entry{line, unknown}, "does not know it"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := &stabilize.Workflow{Header: stabilize.Header{ID: "w"}, Stages: []*stabilize.Stage{c.stage}}
			a := settle(w, c.lines)
			if err := a.Err(); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("want an error that says %q, got %v", c.says, err)
			}
			if strings.Contains(a.String(), "exactly one") {
				t.Errorf("the account claims what is not so:\n%s", a)
			}
		})
	}
}
