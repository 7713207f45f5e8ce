package kit

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Workflow makes a workflow with one stage of one task for each ref. Ids are
// "<workflow>/<ref>" and "<workflow>/<ref>/task".
func Workflow(id string, now time.Time, refs ...string) *stabilize.Workflow {
	w := &stabilize.Workflow{Header: stabilize.Header{
		ID: id, Application: "app", Name: "of the suite", ConfigID: "config", Status: stabilize.Running, CreatedAt: now,
	}}
	for i, ref := range refs {
		w.Stages = append(w.Stages, Stage(id, ref, i))
	}
	return w
}

// Stage makes one stage of a Workflow.
func Stage(workflowID, ref string, position int) *stabilize.Stage {
	id := workflowID + "/" + ref
	return &stabilize.Stage{ID: id, Ref: ref, Position: position, Name: "stage " + ref, Tasks: []*stabilize.Task{
		{ID: id + "/task", Name: "task", Type: "suite"},
	}}
}

// Creation is the commit that creates a workflow.
func Creation(w *stabilize.Workflow) *persistence.Commit {
	return &persistence.Commit{WorkflowID: w.ID, Header: &w.Header, Stages: w.Stages}
}

// Update is a commit that says so in the header's reason and in the context of
// the given stages, on the snapshot w, which is left alone.
func Update(w *stabilize.Workflow, says string, stages ...string) *persistence.Commit {
	h := w.Header.Clone()
	h.Reason = says
	c := &persistence.Commit{WorkflowID: w.ID, Expect: w.Version, Header: h}
	for _, ref := range stages {
		s := w.StageByRef(ref).Clone()
		s.Context = stabilize.Values{"says": Text(says)}
		c.Stages = append(c.Stages, s)
	}
	return c
}

// Text is a JSON text. s must be valid UTF-8.
func Text(s string) json.RawMessage {
	v, err := stabilize.NewValues(map[string]any{"k": s})
	if err != nil {
		panic(err) // a mistake of the suite
	}
	return v["k"]
}

// Says returns what Update wrote into a stage's context.
func Says(s *stabilize.Stage) string {
	if s == nil {
		return "(no stage)"
	}
	text, err := stabilize.Get[string](s.Context, "says")
	if err != nil {
		return ""
	}
	return text
}

// Numbered makes n texts from a format.
func Numbered(format string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf(format, i)
	}
	return out
}
