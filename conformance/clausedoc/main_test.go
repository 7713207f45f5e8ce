package main

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"testing"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/controltest"
	"github.com/stabilize-dev/go-stabilize/conformance/eventtest"
	"github.com/stabilize-dev/go-stabilize/conformance/queuetest"
	"github.com/stabilize-dev/go-stabilize/conformance/storetest"
)

func TestClausesAreWritten(t *testing.T) {
	var want bytes.Buffer
	if err := write(&want); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../../docs/contract.md")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want.Bytes(), got) {
		t.Error("docs/contract.md is out of date: make docs")
	}
}

// The contract's list, by its highest number in each group: every clause is
// tested by a suite or left out for a reason, never both.
func TestEveryClauseIsTestedOrLeftOut(t *testing.T) {
	tested := map[string]bool{}
	form := regexp.MustCompile(`^[A-Z]{2}-[0-9]{2}$`)
	for _, clauses := range [][]conformance.Clause{storetest.Clauses(), eventtest.Clauses(), queuetest.Clauses(), controltest.Clauses()} {
		seen := map[string]bool{}
		for _, c := range clauses {
			if seen[c.ID] || !form.MatchString(c.ID) || c.Group != c.ID[:2] || conformance.GroupOf(c.Group).Title == "" || c.Sentence == "" {
				t.Errorf("clause %+v: used twice, or not of the form", c)
			}
			seen[c.ID], tested[c.ID] = true, true
		}
	}
	out := map[string]bool{}
	for _, o := range conformance.Omissions() {
		if out[o.ID] || tested[o.ID] || o.Reason == "" {
			t.Errorf("%s is left out twice, or also tested, or without a reason", o.ID)
		}
		out[o.ID] = true
	}
	for group, highest := range map[string]int{
		"RT": 26, "OC": 15, "AC": 16, "VL": 33, "OR": 7, "DD": 15, "CL": 12, "PG": 16, "TM": 10, "JS": 13,
		"LP": 6, "CX": 6, "IS": 8, "CR": 9, "IR": 9, "EV": 19, "MG": 8, "CB": 7, "BI": 9,
	} {
		for n := 1; n <= highest; n++ {
			if id := fmt.Sprintf("%s-%02d", group, n); !tested[id] && !out[id] && !out[group] {
				t.Errorf("%s is neither tested nor left out with a reason", id)
			}
		}
	}
}
