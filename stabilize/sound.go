package stabilize

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Finding is something wrong with the shape of a workflow, found before it runs.
type Finding struct {
	Code     FindingCode
	Severity Severity
	// Stage is the ref of the stage it is about. A stage of a body is named after
	// those it is in: "loop/step".
	Stage string
	// Path are refs from where the trouble begins to where it shows, as from a
	// split to the join that it does not fit; at least Stage.
	Path []string
	// Message is one sentence: what goes wrong, and what to use instead.
	Message string
}

// String is the finding on one line.
func (f Finding) String() string {
	return fmt.Sprintf("%s %s at stage %q: %s (%s)", f.Severity, f.Code, f.Stage, f.Message, strings.Join(f.Path, " → "))
}

// Severity says what a finding means for the workflow.
type Severity string

// The severities.
const (
	// Refused: it goes wrong whatever the conditions turn out to be.
	Refused Severity = "REFUSED"
	// Warning: it may go wrong, or is of no use.
	Warning Severity = "WARNING"
)

// FindingCode names the kind of a finding.
type FindingCode string

// The codes of findings.
const (
	// FindingNeverFires: no choice of branches lets the join fire.
	FindingNeverFires FindingCode = "NEVER_FIRES"
	// FindingUnsafeMerge: an exclusive join gets a token from more than one of
	// its branches, and its stage runs for each. Refused if it always does.
	FindingUnsafeMerge FindingCode = "UNSAFE_MERGE"
	// FindingLeftoverTokens: a join gets more tokens on one edge than on another.
	FindingLeftoverTokens FindingCode = "LEFTOVER_TOKENS"
	// FindingIncompleteMerge: a thread merge gets a number of tokens that its
	// threshold does not divide.
	FindingIncompleteMerge FindingCode = "INCOMPLETE_MERGE"
	// FindingNoDefault: a split may find no condition true; it fails then.
	FindingNoDefault FindingCode = "NO_DEFAULT"
	// FindingDeadBranch: a branch leads nowhere, or is never taken.
	FindingDeadBranch FindingCode = "DEAD_BRANCH"
	// FindingNoExit: only its maximum, which is a failure, ends the loop.
	FindingNoExit FindingCode = "NO_EXIT"
	// FindingDeadlock: a stage waits for what waits for it.
	FindingDeadlock FindingCode = "DEADLOCK"
	// FindingMilestonePassed: a milestone has always passed by the stage's turn.
	FindingMilestonePassed FindingCode = "MILESTONE_PASSED"
	// FindingEmptyChoice: a deferred choice has nothing to choose from.
	FindingEmptyChoice FindingCode = "EMPTY_CHOICE"
	// FindingUnreachable: a stage waits for what does not exist.
	FindingUnreachable FindingCode = "UNREACHABLE"
)

// Soundness looks for mistakes in the shape of the workflow: joins that do not
// fit the splits before them, waits that nothing ends. It plays the tokens of
// the declared stages for the choices that matter, as long as they are few
// enough; of a graph with more it knows less and refuses nothing for it.
// Findings are in the order of the stages, none for a sound workflow.
//
// Conditions may turn out either way unless they are the constants true and
// false. A join that some choice leaves dead is no finding: its stage is then
// skipped. Jumps, cancels from outside and what stage types plan are not known
// before they happen and not looked at. The workflow must be valid.
func (w *Workflow) Soundness() []Finding {
	declared := make([]*Stage, 0, len(w.Stages))
	for _, s := range w.Stages {
		if !s.IsSynthetic() && s.Round == 0 {
			declared = append(declared, s)
		}
	}
	lacking := func(ref string) bool { return w.StageByRef(ref) == nil }
	if !slices.ContainsFunc(declared, func(s *Stage) bool { return needsLook(s) || slices.ContainsFunc(s.Requisites, lacking) }) {
		return nil
	}
	var names soundNames
	names.collect(declared)
	return soundness(declared, &names, "")
}

// CheckSound returns an UnsoundError with what Soundness refuses, if anything.
func (w *Workflow) CheckSound() error { return refusal(w.Soundness()) }

func refusal(all []Finding) error {
	var refused []Finding
	for _, f := range all {
		if f.Severity == Refused {
			refused = append(refused, f)
		}
	}
	if len(refused) == 0 {
		return nil
	}
	return &UnsoundError{Findings: refused}
}

// UnsoundError is a workflow that would go wrong whatever happens. Findings are
// those refused, at least one. Its class is ErrInvalid.
type UnsoundError struct {
	Findings []Finding
}

func (e *UnsoundError) Error() string {
	texts := make([]string, len(e.Findings))
	for i, f := range e.Findings {
		texts[i] = fmt.Sprintf("stage %q: %s: %s", f.Stage, f.Code, f.Message)
	}
	return "unsound workflow: " + strings.Join(texts, "; ")
}

// Unwrap returns the class.
func (e *UnsoundError) Unwrap() error { return ErrInvalid }

// needsLook reports whether the stage can be part of a finding. With AND, OR and
// partial joins only, and every edge live, each stage runs exactly once.
func needsLook(s *Stage) bool {
	switch s.Join {
	case JoinExclusive, JoinMulti, JoinMerge:
		return true
	}
	r := s.Rules
	return r != nil && (r.Split != SplitAnd || r.Threads > 1 || r.Choice != "" || r.Ends || r.Milestone != nil ||
		r.OnCancelOf != "" || r.Loop != nil || len(r.Body) > 0 || r.Exclusion != nil && r.Exclusion.Section)
}

// soundness looks at the stages of a workflow or of a body.
func soundness(stages []*Stage, names *soundNames, within string) []Finding {
	g, ok := newSoundGraph(stages)
	if !ok {
		return nil // not valid: stages that wait for each other
	}
	g.checkRequisites()
	g.checkSplits()
	g.checkWaits(names)
	g.checkSections()
	g.checkTokens()
	for _, s := range stages {
		for _, f := range bodySoundness(s, names) {
			g.found = append(g.found, placed{g.at[s.Ref], f})
		}
	}
	slices.SortStableFunc(g.found, func(a, b placed) int { return cmp.Compare(a.slot, b.slot) })
	out := make([]Finding, len(g.found))
	for i, p := range g.found {
		out[i] = p.Finding
		if within != "" {
			out[i].Stage = within + out[i].Stage
			out[i].Path = slices.Clone(out[i].Path)
			for j := range out[i].Path {
				out[i].Path[j] = within + out[i].Path[j]
			}
		}
	}
	return out
}

func bodySoundness(s *Stage, names *soundNames) []Finding {
	if s.Rules == nil || len(s.Rules.Body) == 0 {
		return nil
	}
	return soundness(s.Rules.Body, names, s.Ref+"/")
}
