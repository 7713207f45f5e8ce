package main

import (
	"fmt"
	"io"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// show shows a run from its first snapshot on. It calls watch with what is to be
// told of later ones, and returns after watch has; it calls stop if the user
// wants to leave.
type show func(first *stabilize.Workflow, stop func(), watch func(report func(*stabilize.Workflow)))

// showLines prints a line whenever a stage begins or ends.
func showLines(out io.Writer) show {
	return func(first *stabilize.Workflow, _ func(), watch func(func(*stabilize.Workflow))) {
		seen := map[string]stabilize.Status{}
		for _, s := range first.Stages {
			seen[s.ID] = s.Status
		}
		watch(func(w *stabilize.Workflow) {
			for _, s := range w.Stages {
				if seen[s.ID] != s.Status {
					fmt.Fprintln(out, stageLine(s))
				}
				seen[s.ID] = s.Status
			}
		})
	}
}

func stageLine(s *stabilize.Stage) string {
	line := fmt.Sprintf("%-9s %s", s.Label(), s.Status)
	if !s.Status.IsComplete() {
		return line
	}
	return fmt.Sprintf("%-9s %-15s %8s  %s", s.Label(), s.Status, duration(s, s.EndedAt), summary(s))
}

// duration of a stage as of now.
func duration(s *stabilize.Stage, now time.Time) string {
	if s.StartedAt.IsZero() {
		return ""
	}
	if !s.EndedAt.IsZero() {
		now = s.EndedAt
	}
	return max(now.Sub(s.StartedAt), 0).Round(10 * time.Millisecond).String()
}

// summary says in a few words what a stage put out, or why it failed.
func summary(s *stabilize.Stage) string {
	if found, err := stabilize.Get[finding](s.Outputs, s.Ref); err == nil {
		return found.Summary
	}
	if s.Failure != nil {
		return s.Failure.Message
	}
	return s.Reason
}
