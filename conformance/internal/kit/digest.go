package kit

import (
	"fmt"
	"strings"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Digest is what must be the same of a workflow however it was run: how it, its
// stages and its tasks ended, and what was put out; not when, nor in which order,
// nor by how many attempts. One line each, each begun with the given text.
func Digest(of string, w *stabilize.Workflow) []string {
	lines := []string{fmt.Sprintf("%s %s %s %s jumps=%d leftover=%d", of, w.Status, w.Reason, failureCode(w.Failure), w.Jumps, len(w.Leftover))}
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
	return lines
}

func failureCode(f *stabilize.Failure) string {
	if f == nil {
		return "-"
	}
	return f.Code
}

// Difference shows the lines of two texts that the other has not.
func Difference(want, got string) string {
	return fmt.Sprintf("missing:\n%s\nextra:\n%s", linesWithout(want, got), linesWithout(got, want))
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

// Describe says in one line how a workflow stands.
func Describe(w *stabilize.Workflow) string {
	var b strings.Builder
	b.WriteString(w.Status.String())
	for _, s := range w.Stages {
		fmt.Fprintf(&b, " %s", s.Ref)
		if s.Round > 0 {
			fmt.Fprintf(&b, "#%d", s.Round)
		}
		fmt.Fprintf(&b, ":%s", s.Status)
		if s.Reason != "" {
			fmt.Fprintf(&b, "(%s)", s.Reason)
		}
		if s.Superseded {
			b.WriteString("(superseded)")
		}
		for _, t := range s.Tasks {
			fmt.Fprintf(&b, "[%s:%s]", t.Name, t.Status)
		}
	}
	return b.String()
}
