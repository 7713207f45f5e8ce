package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// showLive draws the stages on a terminal and keeps the last picture.
func showLive(out *os.File) show {
	return func(first *stabilize.Workflow, stop func(), watch func(func(*stabilize.Workflow))) {
		program := tea.NewProgram(&view{run: first, now: time.Now(), stop: stop},
			tea.WithOutput(out), tea.WithoutSignalHandler())
		left := make(chan struct{})
		go func() {
			defer close(left)
			if _, err := program.Run(); err != nil {
				fmt.Fprintln(out, "the view broke:", err) // the run goes on
			}
		}()
		watch(func(w *stabilize.Workflow) { program.Send(snapshot{w}) })
		program.Send(ended{})
		<-left
	}
}

// view is the picture of a run.
type view struct {
	run           *stabilize.Workflow
	now           time.Time
	width, height int
	stop          func()
	stopping      bool
}

// The messages of the view.
type (
	snapshot struct{ *stabilize.Workflow }
	tick     time.Time
	ended    struct{}
)

func nextTick() tea.Cmd {
	return tea.Tick(100*time.Millisecond, func(t time.Time) tea.Msg { return tick(t) })
}

// Init implements tea.Model.
func (v *view) Init() tea.Cmd { return nextTick() }

// Update implements tea.Model.
func (v *view) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case snapshot:
		v.run = msg.Workflow
	case tick:
		v.now = time.Time(msg)
		return v, nextTick()
	case tea.WindowSizeMsg:
		v.width, v.height = msg.Width, msg.Height
	case tea.KeyMsg:
		if key := msg.String(); key == "ctrl+c" || key == "q" {
			v.stopping = true
			v.stop()
		}
	case ended:
		return v, tea.Quit
	}
	return v, nil
}

// View implements tea.Model.
func (v *view) View() string {
	var b strings.Builder
	rows, hidden := v.rows()
	for _, s := range rows {
		b.WriteString(v.cut(fmt.Sprintf("%s %-9s %-15s %8s  %s", glyph(s.Status), s.Label(), s.Status, duration(s, v.now), summary(s))))
		b.WriteByte('\n')
	}
	if hidden > 0 {
		fmt.Fprintf(&b, "  … and %d more\n", hidden)
	}
	endedStages, all := countEnded(v.run)
	footer := fmt.Sprintf("%d of %d stages   q stops; the next start goes on from here", endedStages, all)
	if v.stopping {
		footer = "stopping…"
	}
	b.WriteString(v.cut(footer))
	b.WriteByte('\n')
	return b.String()
}

// rows picks what fits on the screen: all stages, or what is under way, then
// what is to come, then what has ended.
func (v *view) rows() (rows []*stabilize.Stage, hidden int) {
	room := v.height - 3
	if v.height == 0 || len(v.run.Stages) <= room {
		return v.run.Stages, 0
	}
	room = max(room, 1)
	var active, waiting, done []*stabilize.Stage
	for _, s := range v.run.Stages {
		switch {
		case s.Status.IsComplete():
			done = append(done, s)
		case s.Status.IsActive():
			active = append(active, s)
		default:
			waiting = append(waiting, s)
		}
	}
	all := append(append(active, waiting...), done...)
	return all[:room], len(all) - room
}

// cut shortens a line to the width of the terminal, so that it stays one line.
func (v *view) cut(line string) string {
	if runes := []rune(line); v.width > 0 && len(runes) > v.width {
		return string(runes[:v.width])
	}
	return line
}

func glyph(s stabilize.Status) string {
	switch {
	case s.IsSuccessful():
		return "✓"
	case s.IsComplete():
		return "✗"
	case s.IsActive():
		return "▸"
	default:
		return "·"
	}
}
