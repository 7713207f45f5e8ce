package persistence

import (
	"fmt"

	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Encoded is the stored form of what a commit brings.
type Encoded struct {
	Header   []byte          // nil if the commit has none
	Stages   [][]byte        // of Commit.Stages, by index
	Messages []queue.Encoded // of Commit.Messages, by index
	Events   []EncodedEvents // of Commit.Events, in order
}

// Encode validates a commit and writes its stored form, before any I/O and
// outside of any lock. Messages without an id get one from ids. A header, stage,
// message or event longer than maxPayload bytes is ErrTooLarge; 0 or less is no limit.
// Other errors are ErrInvalid. The commit is not changed.
func (c *Commit) Encode(ids *stabilize.IDs, maxPayload int64) (*Encoded, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	e := new(Encoded)
	var err error
	if c.Header != nil {
		if e.Header, err = EncodeHeader(c.Header); err != nil {
			return nil, err
		}
		if err := stabilize.CheckSize("workflow "+c.WorkflowID, e.Header, maxPayload); err != nil {
			return nil, err
		}
	}
	if len(c.Stages) > 0 {
		e.Stages = make([][]byte, len(c.Stages))
	}
	for i, st := range c.Stages {
		if e.Stages[i], err = EncodeStage(st); err != nil {
			return nil, err
		}
		if err := stabilize.CheckSize("stage "+st.Ref, e.Stages[i], maxPayload); err != nil {
			return nil, err
		}
	}
	if len(c.Messages) > 0 {
		e.Messages = make([]queue.Encoded, len(c.Messages))
	}
	for i := range c.Messages {
		if e.Messages[i], err = c.Messages[i].Encode(ids, maxPayload); err != nil {
			return nil, err
		}
	}
	if e.Events, err = c.encodeEvents(maxPayload); err != nil {
		return nil, err
	}
	return e, nil
}

// NewPush returns the commit that is a queue.Queue's Push of these messages: one
// that names no workflow. ErrInvalid if one of them has a Lease.
func NewPush(msgs []queue.Outgoing) (*Commit, error) {
	for i := range msgs {
		if msgs[i].Lease != nil {
			return nil, stabilize.Invalid(fmt.Sprintf("messages[%d] lease", i), "is set outside of a commit")
		}
	}
	return &Commit{Messages: msgs}, nil
}
