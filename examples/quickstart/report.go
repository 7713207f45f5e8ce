package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// writeReport writes the Markdown report. It may run twice, after a crash: the
// file is replaced in one step, so the second time does no harm.
func writeReport(ctx context.Context, in struct {
	Tree       string          `json:"tree"`
	ReportFile string          `json:"reportFile"`
	Checks     []string        `json:"checks"`
	Packages   []sourcePackage `json:"packages"`
	Sum        finding         `json:"sum"`
}) (finding, error) {
	x := stabilize.ExecutionFrom(ctx)
	findings, err := findingsOf(x.Context, in.Checks)
	if err != nil {
		return finding{}, err
	}
	var md strings.Builder
	fmt.Fprintf(&md, "# %s\n\nRun `%s` over `%s`: %s, %s.\n\n", x.Workflow.Name, x.Workflow.ID, in.Tree,
		counted(len(in.Packages), "package"), in.Sum.Summary)
	md.WriteString("| check | result |\n| --- | --- |\n")
	for i, ref := range in.Checks {
		fmt.Fprintf(&md, "| %s | %s |\n", ref, orDash(findings[i].Summary))
	}
	for i, ref := range in.Checks {
		if len(findings[i].Problems) > 0 {
			fmt.Fprintf(&md, "\n## %s\n\n```\n%s\n```\n", ref, strings.Join(findings[i].Problems, "\n"))
		}
	}
	if err := replaceFile(in.ReportFile, md.String()); err != nil {
		return finding{}, err
	}
	return finding{Summary: filepath.Base(in.ReportFile)}, nil
}

func orDash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}

func replaceFile(path, content string) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // gone already when all went well
	if _, err := tmp.WriteString(content); err != nil {
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}
