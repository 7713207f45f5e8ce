package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/queuetest"
	"github.com/stabilize-dev/go-stabilize/conformance/storetest"
)

func main() {
	if err := write(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "clausedoc:", err)
		os.Exit(1)
	}
}

// groups says what the letters of an id stand for.
func groups() map[string]string {
	return map[string]string{
		"RT": "what is stored comes back", "OC": "optimistic concurrency", "AC": "atomic commit", "CL": "leases and concurrency limits",
		"DD": "once only", "OR": "order", "PG": "queries and pages", "TM": "time", "JS": "Unicode and JSON", "BI": "bad input",
		"IS": "concurrent use", "LP": "large payloads", "CX": "ended contexts", "CB": "closing", "VL": "visibility, leases, dead letters",
	}
}

func write(to io.Writer) error {
	w := bufio.NewWriter(to)
	fmt.Fprint(w, "# The clauses\n\nWritten by `go run ./conformance/clausedoc > conformance/CLAUSES.md` from the suites' own data; do not edit.\n")
	fmt.Fprint(w, "Each line is one promise and one sub-test named by its id. A clause that needs a power applies\n")
	fmt.Fprint(w, "unless the harness declares that the backend lacks it; lacking it without a word is a failure.\n")
	suite(w, "Stores: package storetest", storetest.Clauses())
	suite(w, "Queues: package queuetest", queuetest.Clauses())
	fmt.Fprint(w, "\n## Left out\n\nClauses of the contract's list that these suites do not test.\n\n")
	for _, o := range conformance.Omissions() {
		fmt.Fprintf(w, "- `%s`: %s.\n", o.ID, o.Reason)
	}
	return w.Flush()
}

func suite(w io.Writer, title string, clauses []conformance.Clause) {
	fmt.Fprintf(w, "\n## %s\n\n%d clauses.\n", title, len(clauses))
	var order []string
	byGroup := map[string][]conformance.Clause{}
	for _, c := range clauses {
		if byGroup[c.Group] == nil {
			order = append(order, c.Group)
		}
		byGroup[c.Group] = append(byGroup[c.Group], c)
	}
	for _, g := range order {
		fmt.Fprintf(w, "\n### %s: %s\n\n", g, groups()[g])
		for _, c := range byGroup[g] {
			needs := ""
			if c.Needs != "" {
				needs = " Needs " + string(c.Needs) + "."
			}
			fmt.Fprintf(w, "- `%s` %s%s\n", c.ID, strings.ReplaceAll(c.Sentence, "<", "&lt;"), needs)
		}
	}
}
