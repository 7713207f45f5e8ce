package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// account compares what was run, by the journal, with what was kept, by the
// database.
type account struct {
	Once     int          // tasks that ran once
	Again    []repetition // tasks that ran more often
	Problems []string     // promises that were broken; there must be none
}

// repetition is a task that ran more than once.
type repetition struct {
	Stage string
	Runs  []entry
	Kept  int // index of the one whose result was committed; -1: none
}

// settle makes the account of a run that has ended.
func settle(w *stabilize.Workflow, entries []entry) account {
	runs := map[string][]entry{}
	for _, e := range entries {
		if e.Workflow == w.ID {
			runs[e.Key] = append(runs[e.Key], e)
		}
	}
	var a account
	for _, s := range w.Stages {
		for _, task := range s.Tasks {
			mine := runs[task.ID]
			delete(runs, task.ID)
			kept, problem := keptRun(s, task, mine)
			if problem != "" {
				a.Problems = append(a.Problems, fmt.Sprintf("%s: %s", s.Ref, problem))
			}
			switch {
			case len(mine) == 1:
				a.Once++
			case len(mine) > 1:
				a.Again = append(a.Again, repetition{s.Ref, mine, kept})
			}
		}
	}
	for key, left := range runs {
		a.Problems = append(a.Problems, fmt.Sprintf("%s: task %s ran and the database does not know it", left[0].Stage, key))
	}
	return a
}

// keptRun finds the execution whose finding the stage put out.
func keptRun(s *stabilize.Stage, task *stabilize.Task, runs []entry) (kept int, problem string) {
	kept = -1
	found, err := stabilize.Get[finding](s.Outputs, s.Ref)
	if errors.Is(err, stabilize.ErrNotFound) {
		if task.Status == stabilize.Succeeded || task.Status == stabilize.FailedContinue {
			return kept, fmt.Sprintf("ended %s without a result", task.Status)
		}
		return kept, ""
	}
	if err != nil {
		return kept, err.Error()
	}
	for i, e := range runs {
		if e.Run == found.Run {
			kept = i
		}
	}
	if kept < 0 {
		return kept, "has a result that none of its executions gave"
	}
	return kept, ""
}

// Err returns an error if a promise was broken.
func (a account) Err() error {
	if len(a.Problems) == 0 {
		return nil
	}
	return errors.New("the account does not add up: " + strings.Join(a.Problems, "; "))
}

// String tells the account in a few lines.
func (a account) String() string {
	var text strings.Builder
	fmt.Fprintf(&text, "ran once: %s\nran more than once: %s", counted(a.Once, "task"), counted(len(a.Again), "task"))
	for _, r := range a.Again {
		fmt.Fprintf(&text, "\n  %s:", r.Stage)
		for i, e := range r.Runs {
			fate := "cut off"
			if i == r.Kept {
				fate = "committed"
			}
			fmt.Fprintf(&text, " attempt %d in process %d %s;", e.Attempt, e.Process, fate)
		}
	}
	if len(a.Problems) == 0 {
		text.WriteString("\neach has exactly one committed result")
	}
	return text.String()
}
