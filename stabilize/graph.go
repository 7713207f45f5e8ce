package stabilize

import (
	"fmt"
	"slices"
	"strings"
)

// Validate checks a whole workflow before it is created: identifiers, statuses,
// values, refs, requisites, joins, and that no stage waits for itself round
// about. The error is ErrInvalid and names the stage. A requisite that names no
// stage is allowed here, because a stored workflow may hold one; the builder
// refuses it.
func (w *Workflow) Validate() error {
	if err := w.Header.Validate(); err != nil {
		return err
	}
	ids, refs := make(map[string]bool, len(w.Stages)), make(map[string]bool, len(w.Stages))
	for i, s := range w.Stages {
		if s == nil {
			return Invalid(fmt.Sprintf("stages[%d]", i), "is nil")
		}
		if err := s.Validate(); err != nil {
			return err
		}
		key := fmt.Sprintf("%s\x00%d", s.Ref, s.Round)
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
	return w.checkCycles()
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
	if !h.Status.Valid() {
		return Invalid("workflow status", "%s is not one", h.Status)
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

// Validate checks a stage on its own. The error is ErrInvalid.
func (s *Stage) Validate() error {
	if err := CheckID("stage ref", s.Ref); err != nil {
		return err
	}
	if err := CheckID(s.field("id"), s.ID); err != nil {
		return err
	}
	for _, t := range [...]struct{ name, text string }{{"type", s.Type}, {"name", s.Name}, {"parent", s.ParentID}, {"reason", s.Reason}} {
		if err := CheckText(s.field(t.name), t.text); err != nil {
			return err
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
	case s.Timeout < 0:
		return Invalid(s.field("timeout"), "%s is negative", s.Timeout)
	}
	for i, ref := range s.Requisites {
		if err := CheckID(s.field("requisite"), ref); err != nil {
			return err
		}
		if ref == s.Ref {
			return Invalid(s.field("requisites"), "the stage requires itself")
		}
		if slices.Contains(s.Requisites[:i], ref) {
			return Invalid(s.field("requisites"), "%q is listed twice", ref)
		}
	}
	if err := s.Context.Check(s.field("context")); err != nil {
		return err
	}
	if err := s.Outputs.Check(s.field("outputs")); err != nil {
		return err
	}
	return s.validateTasks()
}

func (s *Stage) validateTasks() error {
	for i, t := range s.Tasks {
		if t == nil {
			return Invalid(s.field(fmt.Sprintf("tasks[%d]", i)), "is nil")
		}
		if err := CheckID(s.field(fmt.Sprintf("tasks[%d].id", i)), t.ID); err != nil {
			return err
		}
		if err := CheckID(s.field(fmt.Sprintf("tasks[%d].type", i)), t.Type); err != nil {
			return err
		}
		switch {
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
		for _, text := range [...]string{t.Name, t.Reason, t.Signal, t.LastError} {
			if err := CheckText(s.field(fmt.Sprintf("tasks[%d]", i)), text); err != nil {
				return err
			}
		}
	}
	return nil
}

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
				for i := len(path) - 1; i >= 0; i-- {
					refs = append(refs, path[i].s.Ref)
					if path[i].s.Ref == up.Ref {
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
