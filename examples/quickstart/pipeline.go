package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

const application = "quickstart"

// perShard is how many packages one task looks at, as long as there are no more
// than maxShards tasks of a kind.
const (
	perShard  = 4
	maxShards = 8
)

// pipeline describes the run: list, then for each shard of the packages vet,
// tests and count side by side, then sum, then report. A check that finds
// problems ends FAILED_CONTINUE: the report is written all the same.
func pipeline(opts options, packages int) *stabilize.WorkflowSpec {
	shards := min((packages+perShard-1)/perShard, maxShards)
	spec := stabilize.NewWorkflow(application, filepath.Base(opts.tree)).
		Config(treeID(opts.tree), "").
		Context("tree", opts.tree).
		Context("reportFile", opts.report()).
		Add(stabilize.NewStage("list").Do(taskList))

	var checks []string
	for shard := range shards {
		for _, kind := range []string{taskVet, taskTests, taskCount} {
			ref := fmt.Sprintf("%s-%d", kind, shard+1)
			checks = append(checks, ref)
			spec.Add(stabilize.NewStage(ref).After("list").Do(kind).
				With("shard", shard).With("shards", shards).
				OnFailure(stabilize.ContinueOnFailure))
		}
	}
	return spec.Add(
		stabilize.NewStage("sum").After(checks...).Do(taskSum).With("checks", checks),
		stabilize.NewStage("report").After("sum").Do(taskReport).With("checks", checks),
	)
}

// treeID groups the runs of one tree.
func treeID(tree string) string {
	sum := sha256.Sum256([]byte(tree))
	return "tree-" + hex.EncodeToString(sum[:6])
}

// runKey returns the idempotency key of the run to start: that of the newest run
// of the tree if it has not ended, else the next one. Starting twice under one
// key is one run, so it does not matter where the program died.
func runKey(ctx context.Context, eng *engine.Engine, tree string) (key string, continued bool, err error) {
	prefix := application + "/" + treeID(tree) + "/"
	query := persistence.Query{Application: application, ConfigID: treeID(tree)}
	newest := 0
	for {
		page, err := eng.List(ctx, query)
		if err != nil {
			return "", false, err
		}
		for _, h := range page.Workflows {
			n, err := strconv.Atoi(strings.TrimPrefix(h.Key, prefix))
			if err == nil && n > newest {
				newest, continued = n, !h.Status.IsComplete()
			}
		}
		if page.Next == "" {
			break
		}
		query.Token = page.Next
	}
	if !continued {
		newest++
	}
	return prefix + strconv.Itoa(newest), continued, nil
}
