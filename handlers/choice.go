package handlers

import "github.com/stabilize-dev/go-stabilize/stabilize"

// Deferred choice (pattern 16): all stages of a choice begin, and the first of
// them that gets anywhere, by a signal, by the end of a task or of itself, is
// chosen. The others are withdrawn in the same commit, so never do two go on.

// choose makes the choice that a stage, or one that it belongs to, stands in.
func (x *Decision) choose(s *stabilize.Stage) error {
	w := x.Workflow()
	for ; s != nil; s = w.Stage(s.ParentID) {
		if s.Rules == nil || s.Rules.Choice == "" || s.Superseded || s.Known().Chosen {
			continue
		}
		if chosen(w, s) != nil {
			continue // too late; it is being withdrawn
		}
		x.draft.Stage(s.ID).Note().Chosen = true
		for _, other := range w.Choice(s.Rules.Choice) {
			if other.ID == s.ID {
				continue
			}
			if err := x.haltStage(other, stabilize.Canceled, stabilize.ReasonWithdrawn, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// chosen returns the stage that a choice fell on, or nil.
func chosen(w *stabilize.Workflow, s *stabilize.Stage) *stabilize.Stage {
	for _, other := range w.Choice(s.Rules.Choice) {
		if other.Known().Chosen && other.ID != s.ID {
			return other
		}
	}
	return nil
}
