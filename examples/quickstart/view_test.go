package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

func runOf(stages ...*stabilize.Stage) *stabilize.Workflow {
	return &stabilize.Workflow{Stages: stages}
}

func TestViewShowsStagesWithStatusTimeAndOutput(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	done := stageWith(t, "vet-1", "r")
	done.StartedAt, done.EndedAt = start, start.Add(1500*time.Millisecond)
	if err := done.Outputs.Set("vet-1", finding{Summary: "4 packages"}); err != nil {
		t.Fatal(err)
	}
	v := &view{run: runOf(done), now: start.Add(time.Minute)}
	v.Update(snapshot{runOf(done, &stabilize.Stage{Ref: "sum", Status: stabilize.Running, StartedAt: start})})
	picture := v.View()
	for _, want := range []string{"✓ vet-1     SUCCEEDED           1.5s  4 packages\n", "▸ sum       RUNNING             1m0s", "1 of 2 stages"} {
		if !strings.Contains(picture, want) {
			t.Errorf("%q is not in:\n%s", want, picture)
		}
	}
}

func TestViewFitsTheTerminal(t *testing.T) {
	var stages []*stabilize.Stage
	for i := range 30 {
		stages = append(stages, &stabilize.Stage{Ref: fmt.Sprintf("stage-%d", i), Status: stabilize.Succeeded})
	}
	stages[29].Status = stabilize.Running
	v := &view{run: runOf(stages...)}
	v.Update(tea.WindowSizeMsg{Width: 20, Height: 12})
	picture := v.View()
	if lines := strings.Count(picture, "\n"); lines >= 12 {
		t.Errorf("%d lines on a terminal of 12:\n%s", lines, picture)
	}
	for line := range strings.Lines(picture) {
		if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > 20 {
			t.Errorf("%d columns on a terminal of 20: %q", n, line)
		}
	}
	if !strings.Contains(picture, "stage-29") || !strings.Contains(picture, "21 more") {
		t.Errorf("what runs must be seen, and how much is not:\n%s", picture)
	}
}

func TestViewStopsOnce(t *testing.T) {
	stopped := 0
	v := &view{run: runOf(), stop: func() { stopped++ }}
	v.Update(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune("x")})
	if stopped != 0 {
		t.Error("x is no key to stop")
	}
	v.Update(tea.KeyMsg{Type: tea.KeyCtrlC})
	if stopped != 1 || !strings.Contains(v.View(), "stopping") {
		t.Errorf("ctrl+c asked to stop %d times:\n%s", stopped, v.View())
	}
	if _, cmd := v.Update(ended{}); cmd == nil {
		t.Error("the view does not end with the run")
	}
}

func TestComplaints(t *testing.T) {
	got := complaints([]byte("# example.org/a\na.go:3:1: bad\n\nok  \texample.org/b\t0.1s\n?   \texample.org/c\t[no test files]\nFAIL\n"))
	if len(got) != 1 || got[0] != "a.go:3:1: bad" {
		t.Errorf("%q", got)
	}
	if got := complaints(nil); len(got) != 1 {
		t.Errorf("a command that fails says at least that: %q", got)
	}
	many := strings.Repeat("a.go:1:1: bad\n", maxProblems+3)
	if got := complaints([]byte(many)); len(got) != maxProblems+1 || !strings.HasSuffix(got[maxProblems], "3 more") {
		t.Errorf("%d lines kept, the last %q", len(got), got[len(got)-1])
	}
}
