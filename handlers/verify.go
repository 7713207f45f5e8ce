package handlers

import (
	"context"
	"errors"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// The outputs of a stage are checked when its last task says that it succeeded:
// keys and types while deciding, a registered Verifier, which may do I/O, where
// the task's code runs (the reference's run_task/verification.py).

// verify checks the outputs of a stage whose last task says that it succeeded.
func (x *Decision) verify(s *stabilize.Stage, t *stabilize.Task, r stabilize.Result) *failed {
	if s.Rules == nil || s.Rules.Verify == nil || s.IsBodied() || r.Status != stabilize.Succeeded || s.TaskAfter(t) != nil {
		return nil
	}
	if err := s.Rules.Verify.Check(s.Outputs.Merge(r.Outputs)); err != nil {
		return &failed{text: errorText(err), code: stabilize.CodeVerification, retry: s.Rules.Verify.Retry}
	}
	return nil
}

// verified is the code of a task with the stage's registered verifier after it.
func verified(registry *stabilize.Registry, s *stabilize.Stage, t *stabilize.Task, code Run) Run {
	v := s.Rules.Verify
	if v.With == "" || s.IsBodied() || s.TaskAfter(t) != nil {
		return code
	}
	return func(ctx context.Context, x *stabilize.Execution) (stabilize.Result, error) {
		r, err := code(ctx, x)
		if err != nil || r.Status != stabilize.Succeeded {
			return r, err
		}
		outputs := s.Outputs.Merge(r.Outputs)
		if v.Check(outputs) != nil {
			return r, nil // the decision says why
		}
		verify, err := registry.Verifier(v.With)
		if err == nil {
			err = verify(ctx, x, outputs)
		}
		if err != nil {
			return stabilize.Result{}, refusedOutputs(err, v.Retry)
		}
		return r, nil
	}
}

// refusedOutputs is what a verifier's error makes of a task: it keeps its own
// say about another try, else the stage's rule has it.
func refusedOutputs(err error, retry bool) error {
	if v, ok := errors.AsType[*stabilize.VerificationError](err); ok {
		return v
	}
	return &stabilize.VerificationError{Problem: errorText(err), Retry: retry}
}
