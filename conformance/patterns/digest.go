package patterns

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// digest is what must be the same in all cells: how every workflow, stage and
// task ended, and what was put out; not when, nor in which order, nor by how many
// attempts. One line each, sorted.
func (r *run) digest() string {
	if !r.begun {
		return ""
	}
	var lines []string
	for _, h := range r.workflows() {
		w := r.load(h.ID)
		of := w.Application + "/" + w.Name + "/" + w.Key
		lines = append(lines, fmt.Sprintf("%s %s %s %s jumps=%d leftover=%d", of, w.Status, w.Reason, failureCode(w.Failure), w.Jumps, len(w.Leftover)))
		for _, s := range w.Stages {
			var tasks []string
			for _, t := range s.Tasks {
				tasks = append(tasks, fmt.Sprintf("%s:%s:%s", t.Name, t.Status, failureCode(t.Failure)))
			}
			history := ""
			if s.Superseded {
				history = " superseded"
			}
			outputs := s.Outputs.Clone()
			delete(outputs, "child") // an id
			text, _ := outputs.MarshalJSON()
			lines = append(lines, fmt.Sprintf("%s %s %s %s %s%s %v %s", of, s.Ref, s.Status, s.Reason, failureCode(s.Failure), history, tasks, text))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// linesWithout returns the lines of a that b has not, as often as it has not.
func linesWithout(a, b string) string {
	have := map[string]int{}
	for line := range strings.Lines(b) {
		have[strings.TrimSpace(line)]++
	}
	var out []string
	for line := range strings.Lines(a) {
		line = strings.TrimSpace(line)
		if have[line]--; have[line] < 0 {
			out = append(out, line)
		}
	}
	return strings.Join(out, "\n")
}

func failureCode(f *stabilize.Failure) string {
	if f == nil {
		return "-"
	}
	return f.Code
}
