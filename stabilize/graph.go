package stabilize

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Validate checks a whole workflow before it is created: identifiers, statuses,
// values, refs, requisites, joins, and that no stage waits for itself round
// about. The error is ErrInvalid and names the stage. A requisite that names no
// stage is allowed here, because a stored workflow may hold one; the builder
// refuses it. Whether joins fit the splits before them is what Soundness says.
func (w *Workflow) Validate() error {
	if err := w.Header.Validate(); err != nil {
		return err
	}
	type execution struct {
		ref   string
		round int
	}
	ids, refs := make(map[string]bool, len(w.Stages)), make(map[execution]bool, len(w.Stages))
	for i, s := range w.Stages {
		if s == nil {
			return Invalid(fmt.Sprintf("stages[%d]", i), "is nil")
		}
		if err := s.Validate(); err != nil {
			return err
		}
		key := execution{s.Ref, s.Round}
		switch {
		case ids[s.ID]:
			return Invalid(s.field("id"), "%q is used twice", s.ID)
		case refs[key]:
			return Invalid(s.field("ref"), "is used twice")
		case i > 0 && s.Position <= w.Stages[i-1].Position:
			return Invalid(s.field("position"), "%d does not follow %d", s.Position, w.Stages[i-1].Position)
		}
		ids[s.ID], refs[key] = true, true
	}
	if err := w.checkParents(); err != nil {
		return err
	}
	return w.checkCycles()
}

// checkParents finds a synthetic stage that is its own ancestor.
func (w *Workflow) checkParents() error {
	var parents map[string]string
	for _, s := range w.Stages {
		if s.IsSynthetic() {
			if parents == nil {
				parents = map[string]string{}
			}
			parents[s.ID] = s.ParentID
		}
	}
	for _, s := range w.Stages {
		id, steps := s.ParentID, 0
		for ; id != ""; id, steps = parents[id], steps+1 {
			if id == s.ID || steps > len(parents) {
				return Invalid(s.field("parent"), "the stage is its own ancestor")
			}
		}
	}
	return nil
}

// Validate checks a header on its own. The error is ErrInvalid.
func (h *Header) Validate() error {
	if err := CheckID("workflow id", h.ID); err != nil {
		return err
	}
	texts := []struct{ field, text string }{
		{"application", h.Application}, {"workflow name", h.Name}, {"key", h.Key}, {"origin", h.Origin},
		{"config id", h.ConfigID}, {"config version", h.ConfigVersion}, {"reason", h.Reason},
		{"trigger type", h.Trigger.Type}, {"trigger user", h.Trigger.User},
	}
	for _, t := range texts {
		if err := CheckText(t.field, t.text); err != nil {
			return err
		}
	}
	switch {
	case !h.Status.Valid():
		return Invalid("workflow status", "%s is not one", h.Status)
	case !h.Failure.isText():
		return Invalid("workflow failure", "is not valid UTF-8")
	case h.Cancel != nil && !areText(h.Cancel.By, h.Cancel.Reason):
		return Invalid("workflow cancel", "is not valid UTF-8")
	case h.Pause != nil && !areText(h.Pause.By):
		return Invalid("workflow pause", "is not valid UTF-8")
	}
	if err := h.validateExtras(); err != nil {
		return err
	}
	for i, raw := range h.Trigger.Artifacts {
		if err := checkRaw(fmt.Sprintf("trigger artifact %d", i), raw); err != nil {
			return err
		}
	}
	for _, v := range []struct {
		field  string
		values Values
	}{{"workflow context", h.Context}, {"trigger parameters", h.Trigger.Parameters}, {"trigger payload", h.Trigger.Payload}} {
		if err := v.values.Check(v.field); err != nil {
			return err
		}
	}
	if h.LimitConcurrent && h.ConfigID == "" {
		return Invalid("config id", "is empty, but the workflow limits concurrent runs of its configuration")
	}
	return nil
}

// validateExtras checks what few workflows have.
func (h *Header) validateExtras() error {
	for _, g := range h.Signals {
		if !areText(g.Name, g.Key, g.Ref) {
			return Invalid("workflow signal", "is not valid UTF-8")
		}
		if err := g.Data.Check("workflow signal"); err != nil {
			return err
		}
	}
	for _, l := range h.Locks {
		if !areText(l.Key, l.Ticket) {
			return Invalid("workflow lock", "is not valid UTF-8")
		}
	}
	for _, t := range h.Leftover {
		if !areText(t.Ref) {
			return Invalid("workflow leftover", "is not valid UTF-8")
		}
	}
	switch p := h.Parent; {
	case h.Timeout < 0:
		return Invalid("workflow timeout", "%s is negative", h.Timeout)
	case !areText(h.Timer) || !areText(h.CanceledRegions...):
		return Invalid("workflow timer or canceled regions", "is not valid UTF-8")
	case p != nil && !areText(p.WorkflowID, p.StageID, p.TaskID):
		return Invalid("workflow parent", "is not valid UTF-8")
	}
	return nil
}

// Validate checks a stage on its own. The error is ErrInvalid.
//
// It runs for every stage of every commit: names of fields are made only when
// something is wrong with them.
func (s *Stage) Validate() error {
	if err := CheckID("stage ref", s.Ref); err != nil {
		return err
	}
	if CheckID("", s.ID) != nil {
		return CheckID(s.field("id"), s.ID)
	}
	for _, t := range [...]struct{ name, text string }{{"type", s.Type}, {"name", s.Name}, {"parent", s.ParentID}, {"reason", s.Reason}} {
		if !areText(t.text) {
			return CheckText(s.field(t.name), t.text)
		}
	}
	switch {
	case s.Round < 0:
		return Invalid(s.field("round"), "%d is negative", s.Round)
	case !s.Status.Valid() || !s.Ending.Valid():
		return Invalid(s.field("status"), "%s is not one", s.Status)
	case !s.Join.Valid() || !s.OnFailure.Valid() || !s.Owner.Valid() || !s.Tokens.Kind.Valid():
		return Invalid(s.field("join"), "unknown join, failure policy, owner or token")
	case s.IsSynthetic() != (s.Owner != NoOwner):
		return Invalid(s.field("owner"), "a stage has an owner exactly when it has a parent")
	case s.Join == JoinNOfM && (s.Threshold < 1 || s.Threshold > len(s.Requisites)):
		return Invalid(s.field("threshold"), "%d of %d cannot be met", s.Threshold, len(s.Requisites))
	case s.Join == JoinMerge && s.Threshold < 1:
		return Invalid(s.field("threshold"), "%d threads cannot be merged", s.Threshold)
	case s.Timeout < 0:
		return Invalid(s.field("timeout"), "%s is negative", s.Timeout)
	case !s.Failure.isText():
		return Invalid(s.field("failure"), "is not valid UTF-8")
	case !areText(s.Tokens.Except...):
		return Invalid(s.field("tokens"), "is not valid UTF-8")
	}
	if err := s.validateRequisites(); err != nil {
		return err
	}
	if s.Rules != nil {
		if !s.Rules.areText() {
			return Invalid(s.field("rules"), "are not valid UTF-8")
		}
		if err := s.validateBody(); err != nil {
			return err
		}
	}
	if s.State != nil {
		if err := s.State.check(s.field("state")); err != nil {
			return err
		}
	}
	if s.Context.Check("") != nil {
		return s.Context.Check(s.field("context"))
	}
	if s.Outputs.Check("") != nil {
		return s.Outputs.Check(s.field("outputs"))
	}
	return s.validateTasks()
}

func (s *Stage) validateRequisites() error {
	var seen map[string]bool // only for a list that is not sorted, as it should be
	for i, ref := range s.Requisites {
		if CheckID("", ref) != nil {
			return CheckID(s.field("requisite"), ref)
		}
		if ref == s.Ref {
			return Invalid(s.field("requisites"), "the stage requires itself")
		}
		if seen == nil && i > 0 && ref <= s.Requisites[i-1] {
			seen = make(map[string]bool, len(s.Requisites))
			for _, earlier := range s.Requisites[:i] {
				seen[earlier] = true
			}
		}
		if seen != nil {
			if seen[ref] {
				return Invalid(s.field("requisites"), "%q is listed twice", ref)
			}
			seen[ref] = true
		}
	}
	return nil
}

func (s *Stage) validateTasks() error {
	for i, t := range s.Tasks {
		field := func(name string) string { return s.field(fmt.Sprintf("tasks[%d]%s", i, name)) }
		if t == nil {
			return Invalid(field(""), "is nil")
		}
		if CheckID("", t.ID) != nil {
			return CheckID(field(".id"), t.ID)
		}
		if CheckID("", t.Type) != nil {
			return CheckID(field(".type"), t.Type)
		}
		switch {
		case t.Wait != nil && !t.Wait.storable():
			return Invalid(field(".wait"), "is not valid UTF-8, or its signal cannot be stored")
		case !areText(t.Name, t.Reason, t.Signal, t.LastError, t.Run) || !t.Failure.isText():
			return Invalid(field(""), "is not valid UTF-8")
		case !t.Status.Valid() || !t.Phase.Valid():
			return Invalid(s.field(fmt.Sprintf("task %q status", t.Name)), "%s is not one", t.Status)
		case i > 0 && t.Position <= s.Tasks[i-1].Position:
			return Invalid(s.field(fmt.Sprintf("task %q position", t.Name)), "%d does not follow %d", t.Position, s.Tasks[i-1].Position)
		}
		for _, u := range s.Tasks[:i] {
			if u.ID == t.ID {
				return Invalid(s.field(fmt.Sprintf("task %q id", t.Name)), "%q is used twice", t.ID)
			}
		}
	}
	return nil
}

func (w *Wait) storable() bool {
	g := w.Received
	return areText(w.Child) && (g == nil || areText(g.Name, g.Key, g.Ref) && g.Data.Check("") == nil)
}

func areText(texts ...string) bool {
	for _, text := range texts {
		if !utf8.ValidString(text) {
			return false
		}
	}
	return true
}

func (f *Failure) isText() bool { return f == nil || areText(f.Code, f.Message, f.Stage, f.Task) }

// field names a field of the stage in an error.
func (s *Stage) field(name string) string { return fmt.Sprintf("stage %q %s", s.Ref, name) }

// checkCycles walks requisites depth first and names the circle it finds.
func (w *Workflow) checkCycles() error {
	const (
		unseen = iota
		onPath
		cleared
	)
	latest := make(map[string]*Stage, len(w.Stages))
	for _, s := range w.Stages {
		if old := latest[s.Ref]; old == nil || old.Round < s.Round {
			latest[s.Ref] = s
		}
	}
	state := make(map[string]int, len(latest))
	type frame struct {
		s    *Stage
		next int
	}
	for _, root := range w.Stages {
		if state[root.Ref] != unseen {
			continue
		}
		state[root.Ref] = onPath
		path := []frame{{s: latest[root.Ref]}}
		for len(path) > 0 {
			top := &path[len(path)-1]
			if top.next == len(top.s.Requisites) {
				state[top.s.Ref] = cleared
				path = path[:len(path)-1]
				continue
			}
			up := latest[top.s.Requisites[top.next]]
			top.next++
			switch {
			case up == nil || state[up.Ref] == cleared:
			case state[up.Ref] == onPath:
				refs := []string{up.Ref}
				for _, f := range slices.Backward(path) {
					refs = append(refs, f.s.Ref)
					if f.s.Ref == up.Ref {
						break
					}
				}
				slices.Reverse(refs)
				return Invalid(up.field("requisites"), "the stages wait for each other: %s", strings.Join(refs, " → "))
			default:
				state[up.Ref] = onPath
				path = append(path, frame{s: up})
			}
		}
	}
	return nil
}
