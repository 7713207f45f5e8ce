package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/controltest"
	"github.com/stabilize-dev/go-stabilize/conformance/eventtest"
	"github.com/stabilize-dev/go-stabilize/conformance/queuetest"
	"github.com/stabilize-dev/go-stabilize/conformance/storetest"
)

func main() {
	if err := write(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "clausedoc:", err)
		os.Exit(1)
	}
}

func write(to io.Writer) error {
	w := bufio.NewWriter(to)
	fmt.Fprint(w, "# The contract of stores and queues\n\nWritten by `go run ./conformance/clausedoc > docs/contract.md` from the suites' own data; do not edit.\n")
	fmt.Fprint(w, "Each line is one promise and one sub-test named by its id. A clause that needs a power applies\n")
	fmt.Fprint(w, "unless the harness declares that the backend lacks it; lacking it without a word is a failure.\n")
	fmt.Fprint(w, "After every clause nothing that it opened may be left. What is owed in detail is in the comments of the\n")
	fmt.Fprint(w, "types named at each group. `go run ./conformance/cmd/certify -dsn DSN` tests a store that this module ships,\n")
	fmt.Fprint(w, "package conformance/certify one of your own, both with random sequences and the control-flow patterns besides.\n")
	suite(w, "Stores: package storetest", storetest.Clauses())
	suite(w, "Events: package eventtest", eventtest.Clauses())
	suite(w, "Queues: package queuetest", queuetest.Clauses())
	suite(w, "Engines on a store: package controltest", controltest.Clauses())
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
		fmt.Fprintf(w, "\n### %s: %s\n\nSee %s.\n\n", g, conformance.GroupOf(g).Title, conformance.GroupOf(g).Read)
		for _, c := range byGroup[g] {
			needs := ""
			if c.Needs != "" {
				needs = " Needs " + string(c.Needs) + "."
			}
			fmt.Fprintf(w, "- `%s` %s%s\n", c.ID, strings.ReplaceAll(c.Sentence, "<", "&lt;"), needs)
		}
	}
}
