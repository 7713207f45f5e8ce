package persistence

import (
	"fmt"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Validate checks a commit before any I/O; every store calls it. The error is
// ErrInvalid and names the item.
func (c *Commit) Validate() error {
	if c == nil {
		return stabilize.Invalid("commit", "is nil")
	}
	if c.WorkflowID == "" {
		if c.Expect != 0 || c.Header != nil || len(c.Stages)+len(c.Removed) > 0 || c.Admission != nil {
			return stabilize.Invalid("commit workflow id", "is empty, but the commit changes a workflow")
		}
	} else if err := c.validateWorkflow(); err != nil {
		return err
	}
	seen := make(map[string]bool, len(c.Handled)+len(c.Messages))
	for i, r := range c.Handled {
		switch {
		case r.ID == "" || r.Token == "":
			return stabilize.Invalid(fmt.Sprintf("commit handled[%d]", i), "has no id or no token")
		case seen[r.ID]:
			return stabilize.Invalid(fmt.Sprintf("commit handled[%d]", i), "message %q is listed twice", r.ID)
		}
		seen[r.ID] = true
	}
	clear(seen)
	for i := range c.Messages {
		m := &c.Messages[i]
		if err := m.Check(); err != nil {
			return fmt.Errorf("commit messages[%d]: %w", i, err)
		}
		if m.ID != "" && seen[m.ID] {
			return stabilize.Invalid(fmt.Sprintf("commit messages[%d]", i), "id %q is listed twice", m.ID)
		}
		seen[m.ID] = true
	}
	for i, id := range c.Discard {
		if id == "" {
			return stabilize.Invalid(fmt.Sprintf("commit discard[%d]", i), "is empty")
		}
	}
	return c.validateEvents()
}

func (c *Commit) validateWorkflow() error {
	if err := stabilize.CheckID("commit workflow id", c.WorkflowID); err != nil {
		return err
	}
	switch {
	case c.Expect < 0:
		return stabilize.Invalid("commit expect", "%d is negative", c.Expect)
	case c.Expect == 0 && c.Header == nil:
		return stabilize.Invalid("commit header", "is missing, but the commit creates the workflow")
	case c.Expect == 0 && len(c.Removed) > 0:
		return stabilize.Invalid("commit removed", "is set, but the commit creates the workflow")
	case c.Header != nil && c.Header.ID != c.WorkflowID:
		return stabilize.Invalid("commit header id", "%q is not the commit's workflow %q", c.Header.ID, c.WorkflowID)
	}
	if a := c.Admission; a != nil {
		if a.Op < TakePlace || a.Op > LeavePlace {
			return stabilize.Invalid("commit admission", "unknown operation %d", a.Op)
		}
		if err := stabilize.CheckID("commit admission key", a.Key); err != nil {
			return err
		}
	}
	if c.Expect == 0 {
		w := stabilize.Workflow{Header: *c.Header, Stages: c.Stages}
		return w.Validate()
	}
	if c.Header != nil {
		if err := c.Header.Validate(); err != nil {
			return err
		}
	}
	return c.validateStages()
}

func (c *Commit) validateStages() error {
	var seen map[string]bool
	if len(c.Stages)+len(c.Removed) > 1 {
		seen = make(map[string]bool, len(c.Stages)+len(c.Removed))
	}
	for i, s := range c.Stages {
		if s == nil {
			return stabilize.Invalid(fmt.Sprintf("commit stages[%d]", i), "is nil")
		}
		if err := s.Validate(); err != nil {
			return err
		}
		if seen != nil {
			if seen[s.ID] {
				return stabilize.Invalid("commit stages", "stage %q is listed twice", s.Ref)
			}
			seen[s.ID] = true
		}
	}
	for i, id := range c.Removed {
		if err := stabilize.CheckID(fmt.Sprintf("commit removed[%d]", i), id); err != nil {
			return err
		}
		if seen != nil {
			if seen[id] {
				return stabilize.Invalid("commit removed", "stage id %q is listed twice", id)
			}
			seen[id] = true
		}
	}
	return nil
}
