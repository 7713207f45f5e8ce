package handlers

import (
	"strings"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// maxErrorText is how much of an error's text is kept with the workflow.
const maxErrorText = 8 << 10

// errorText is the text of somebody's error, fit to be stored: valid UTF-8 and
// not too long. It may come from anywhere, so it is mended, not refused.
func errorText(err error) string { return fitText(err.Error()) }

func fitText(s string) string {
	if len(s) > maxErrorText {
		s = s[:maxErrorText] + "…"
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// fitFailure is the failure a task answered with, fit to be stored.
func fitFailure(f *stabilize.Failure) *stabilize.Failure {
	if f == nil {
		return nil
	}
	return &stabilize.Failure{Code: fitText(f.Code), Message: fitText(f.Message)}
}
