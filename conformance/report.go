package conformance

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Verdict is how a clause went on a backend.
type Verdict string

// The verdicts.
const (
	Passed  Verdict = "passed"
	Failed  Verdict = "failed"
	LeftOut Verdict = "left out"
)

// Result is one line of a certificate.
type Result struct {
	Suite    string  `json:"suite"`
	ID       string  `json:"id"`
	Group    string  `json:"group"`
	Sentence string  `json:"sentence"`
	Verdict  Verdict `json:"verdict"`
	// Detail is the first failure in full, or why the clause was left out.
	Detail  string  `json:"detail,omitempty"`
	Seconds float64 `json:"seconds"`
}

// Report is what the suites found out about a backend, clause by clause, in the
// order of the suites. It is written by one goroutine, the test's (Into), and
// read when the suite has returned.
type Report struct {
	Backend string    `json:"backend"`
	Speed   string    `json:"speed,omitempty"` // run, stress or differential, where a program made it
	Started time.Time `json:"started,omitzero"`
	Seconds float64   `json:"seconds,omitempty"`
	Results []Result  `json:"results"`
}

// Count returns how many clauses went so.
func (r *Report) Count(v Verdict) int {
	n := 0
	for _, c := range r.Results {
		if c.Verdict == v {
			n++
		}
	}
	return n
}

// First returns the first clause that failed, in the order of the suites: the
// one to mend first, because later clauses build on earlier ones.
func (r *Report) First() (Result, bool) {
	i := slices.IndexFunc(r.Results, func(c Result) bool { return c.Verdict == Failed })
	if i < 0 {
		return Result{}, false
	}
	return r.Results[i], true
}

// Certified reports whether the backend holds every clause that was not left
// out, and was asked at least one.
func (r *Report) Certified() bool { return r.Count(Failed) == 0 && r.Count(Passed) > 0 }

// WriteJSON writes the report for machines.
func (r *Report) WriteJSON(to io.Writer) error {
	enc := json.NewEncoder(to)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(r)
}

// notAsked is the detail of a clause that nobody asked for.
const notAsked = "not asked for (go test -run or -skip)"

// WriteTable writes the certificate as Markdown: a line for each group of each
// suite, then what failed and what the backend lacks, clause by clause.
func (r *Report) WriteTable(to io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# Certificate: %s\n\n", cell(r.Backend))
	if r.Speed != "" {
		fmt.Fprintf(&b, "Speed: %s. ", cell(r.Speed))
	}
	fmt.Fprintf(&b, "%d clauses passed, %d failed, %d were left out", r.Count(Passed), r.Count(Failed), r.Count(LeftOut))
	if r.Seconds > 0 {
		fmt.Fprintf(&b, ", in %.1f s", r.Seconds)
	}
	b.WriteString(".\n\n| suite | group | about | clauses | passed | failed | left out | seconds |\n| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |\n")
	for _, g := range r.groups() {
		part := Report{Results: g}
		seconds := 0.0
		for _, c := range g {
			seconds += c.Seconds
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %d | %d | %d | %d | %.1f |\n", cell(g[0].Suite), cell(g[0].Group), cell(GroupOf(g[0].Group).Title), len(g),
			part.Count(Passed), part.Count(Failed), part.Count(LeftOut), seconds)
	}
	r.list(&b, Failed, "Failed", "seen")
	if first, ok := r.First(); ok {
		fmt.Fprintf(&b, "\nBegin with %s `%s`: the others may follow from it. %s\n", cell(first.Suite), cell(first.ID), owed(first.Group))
	}
	r.list(&b, LeftOut, "Left out", "why")
	_, err := io.WriteString(to, b.String())
	return err
}

// groups keeps the order in which they appear.
func (r *Report) groups() [][]Result {
	var out [][]Result
	at := map[[2]string]int{}
	for _, c := range r.Results {
		key := [2]string{c.Suite, c.Group}
		i, ok := at[key]
		if !ok {
			i = len(out)
			at[key] = i
			out = append(out, nil)
		}
		out[i] = append(out[i], c)
	}
	return out
}

func (r *Report) list(b *strings.Builder, v Verdict, title, detail string) {
	listed := func(c Result) bool { return c.Verdict == v && c.Detail != notAsked }
	if !slices.ContainsFunc(r.Results, listed) {
		return
	}
	fmt.Fprintf(b, "\n## %s\n\n| clause | promised | %s |\n| --- | --- | --- |\n", title, detail)
	for _, c := range r.Results {
		if listed(c) {
			fmt.Fprintf(b, "| %s `%s` | %s | %s |\n", cell(c.Suite), cell(c.ID), cell(c.Sentence), cell(seen(c.Detail)))
		}
	}
}

// seen cuts a failure to what was seen: the promise has a column of its own.
func seen(detail string) string {
	if _, after, ok := strings.Cut(detail, "\nSeen: "); ok {
		detail = after
	}
	detail, _, _ = strings.Cut(detail, "\n")
	if r := []rune(detail); len(r) > 300 {
		detail = string(r[:300]) + "…"
	}
	return detail
}

// cell makes text fit into a cell of a table.
func cell(s string) string {
	return strings.NewReplacer("\\", `\\`, "|", `\|`, "<", "&lt;", "\n", " ", "\r", " ").Replace(s)
}
