package transfer

import (
	"encoding/json"
	"time"
)

// What an export begins with.
const (
	content = "workflows"
	format  = 1
)

// line is one line of an export: the first has Opening, the last End.
type line struct {
	Opening *opening `json:"stabilize,omitempty"`

	Workflow json.RawMessage   `json:"workflow,omitempty"` // as persistence.EncodeHeader
	Version  int64             `json:"version,omitempty"`
	Stages   []json.RawMessage `json:"stages,omitempty"`   // as persistence.EncodeStage
	Messages []message         `json:"messages,omitempty"` // in the order of their delivery

	Places *places `json:"places,omitempty"` // after all workflows
	End    *Counts `json:"end,omitempty"`
}

type opening struct {
	Of     string `json:"of"`
	Format int    `json:"format"`
}

type message struct {
	ID   string          `json:"id"`
	Kind string          `json:"kind"`
	Due  time.Time       `json:"due"`
	Most int             `json:"maxAttempts"`
	Body json.RawMessage `json:"body"`
}

// places of one concurrency limit, first come first.
type places struct {
	Key     string   `json:"key"`
	Holding []string `json:"holding,omitempty"`
	Waiting []waiter `json:"waiting,omitempty"`
}

type waiter struct {
	ID    string `json:"id"`
	Limit int    `json:"limit"`
}
