package persistence

import (
	"fmt"
	"slices"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// CheckVersion decides whether a valid commit that names a workflow may be
// applied to what is stored: the workflow's version, 0 if it does not exist, and
// its CreatedAt. The errors are ErrExists, ErrNotFound, ErrConflict, and
// ErrInvalid if the commit changes CreatedAt. A store calls it under the lock,
// or in the transaction, in which it writes.
func (c *Commit) CheckVersion(version int64, createdAt time.Time) error {
	switch {
	case c.Expect == 0 && version != 0:
		return &stabilize.ExistsError{Kind: "workflow", ID: c.WorkflowID}
	case c.Expect == 0:
		return nil
	case version == 0:
		return &stabilize.NotFoundError{Kind: "workflow", ID: c.WorkflowID}
	case version != c.Expect:
		return &stabilize.ConflictError{WorkflowID: c.WorkflowID, Expected: c.Expect, Actual: version}
	case c.Header != nil && !stabilize.Instant(c.Header.CreatedAt).Equal(stabilize.Instant(createdAt)):
		return stabilize.Invalid("workflow created at", "of %q cannot change from %s to %s", c.WorkflowID, createdAt, c.Header.CreatedAt)
	}
	return nil
}

// CheckStage returns ErrInvalid if a stage changes what cannot change in the one
// stored under its id: ref, round, position.
func CheckStage(stored, s *stabilize.Stage) error {
	if stored.Ref == s.Ref && stored.Round == s.Round && stored.Position == s.Position {
		return nil
	}
	return stabilize.Invalid("stage", "%q (%q, round %d, position %d) cannot become %q, round %d, position %d",
		s.ID, stored.Ref, stored.Round, stored.Position, s.Ref, s.Round, s.Position)
}

// CheckStages checks a commit's stages against those stored, for a store that
// keeps them as EncodeStage writes them: stored returns the body of a stage of this
// workflow, nil if there is none of that id. ErrInvalid for what cannot change and
// for a removed stage that does not exist, ErrCorrupt.
func (c *Commit) CheckStages(stored func(id string) []byte) error {
	for _, s := range c.Stages {
		body := stored(s.ID)
		if body == nil {
			continue // new
		}
		was, err := DecodeStage(s.ID, 0, body)
		if err == nil {
			err = CheckStage(was, s)
		}
		if err != nil {
			return err
		}
	}
	for _, id := range c.Removed {
		if stored(id) == nil {
			return stabilize.Invalid("commit removed", "workflow %q has no stage %q", c.WorkflowID, id)
		}
	}
	return nil
}

// Frees reports whether the commit itself removes the live message of that id,
// so that one of its Messages may have it.
func (c *Commit) Frees(messageID string) bool {
	for _, r := range c.Handled {
		if r.ID == messageID {
			return true
		}
	}
	for _, id := range c.Discard {
		if id == messageID {
			return true
		}
	}
	return false
}

// Check decides whether a workflow's request may be done, given who counts under
// its key before the commit: ErrNoPlace, ErrPlaceFree or nil. The rule itself is
// MayTake, for stores that would rather count than list.
func (a *Admission) Check(workflowID string, now Admissions) error {
	if a.Op == LeavePlace {
		return nil
	}
	ahead := slices.Index(now.Waiting, workflowID)
	if ahead < 0 {
		ahead = len(now.Waiting)
	}
	if MayTake(slices.Contains(now.Holding, workflowID), ahead, len(now.Holding), a.Limit) == (a.Op == TakePlace) {
		return nil
	}
	return &stabilize.AdmissionError{
		Key: a.Key, WorkflowID: workflowID, Limit: a.Limit, Holding: len(now.Holding), Free: a.Op == WaitForPlace,
	}
}

// CheckIDs returns ErrInvalid for ids that WorkflowStore.Delete and Watcher.Unfinished
// must refuse.
func CheckIDs(ids []string) error {
	for _, id := range ids {
		if err := stabilize.CheckID("workflow id", id); err != nil {
			return err
		}
	}
	return nil
}

// CheckPrune returns ErrInvalid for headers that WorkflowStore.Prune must refuse.
func CheckPrune(finished []*stabilize.Header) error {
	for i, h := range finished {
		if h == nil {
			return stabilize.Invalid(fmt.Sprintf("headers[%d] to prune", i), "is nil")
		}
		if err := stabilize.CheckID(fmt.Sprintf("headers[%d] to prune", i), h.ID); err != nil {
			return err
		}
		if !h.Status.IsComplete() {
			return stabilize.Invalid(fmt.Sprintf("headers[%d] to prune", i), "workflow %q is not finished, but %s", h.ID, h.Status)
		}
	}
	return nil
}

// IsAsRead reports whether a stored workflow, by its version and creation time, is
// the one whose header was read, and unchanged.
func IsAsRead(h *stabilize.Header, version int64, createdAt time.Time) bool {
	return h.Version == version && stabilize.Instant(h.CreatedAt).Equal(stabilize.Instant(createdAt))
}

// CheckRefresh returns ErrInvalid for arguments that a Refresher must refuse.
func CheckRefresh(id string, since int64) error {
	if err := stabilize.CheckID("workflow id", id); err != nil {
		return err
	}
	if since < 0 {
		return stabilize.Invalid("refresh since", "%d is negative", since)
	}
	return nil
}
