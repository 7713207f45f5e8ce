package handlers

import (
	"slices"

	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// CancelRegion promises: what is live in a region is withdrawn, what has ended
// there stays as it is, and stages declared to follow the cancelling start. The
// workflow goes on (pattern 25; the reference's cancel_region.py cancels it).
func CancelRegion() Handler { return Handle(cancelRegion) }

func cancelRegion(x *Decision, m queue.CancelRegion) error {
	return x.WithWorkflow(func(w *stabilize.Workflow) error {
		members := w.Region(m.Region)
		if len(members) == 0 {
			if x.Requested() {
				return &stabilize.NotFoundError{Kind: "region", ID: m.Region}
			}
			x.Logger().Warn("a region that no stage is in", "region", m.Region)
			return nil
		}
		if !slices.ContainsFunc(members, func(s *stabilize.Stage) bool { return !s.Status.IsComplete() }) {
			if x.Requested() {
				return stabilize.NotAllowed("cancelling region "+m.Region, "all of it has ended")
			}
			return nil
		}
		x.canceledAlone(m.Region)
		return x.withdrawAll(members)
	})
}

// canceledAlone remembers that a region or stage was canceled while its workflow
// goes on, and offers the stages that follow from it.
func (x *Decision) canceledAlone(name string) {
	w := x.Workflow()
	if slices.Contains(w.CanceledRegions, name) {
		return
	}
	watching := w.Watching(name)
	if len(watching) == 0 {
		return
	}
	h := x.draft.Header()
	h.CanceledRegions = append(h.CanceledRegions, name)
	for _, s := range watching {
		x.offer(s)
	}
}
