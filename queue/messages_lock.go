package queue

import (
	"crypto/sha256"
	"encoding/base32"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// A global exclusion key is an aggregate of its own, addressed like a workflow:
// LockID of the key.

// LockPlace is a place in the line for a key: of a workflow, under the ticket
// with which it asked, so that asking, getting and giving back may cross.
type LockPlace struct {
	For    string `json:"for"` // id of the workflow
	Ticket string `json:"ticket"`
}

// LockLine is where the context of the workflow that stands for a key keeps its
// line, a list of LockPlace, the holder first.
const LockLine = "line"

// AcquireLock asks for a global exclusion key, for a workflow.
type AcquireLock struct {
	OfWorkflow        // the lock
	Key        string `json:"key"`
	LockPlace
}

// Kind implements Message.
func (AcquireLock) Kind() string { return "AcquireLock" }

// LockApplication is the application of the workflows that stand for global
// exclusion keys; their name is the key.
const LockApplication = "stabilize.locks"

// LockID is the id of the workflow that stands for a key.
func LockID(key string) string {
	sum := sha256.Sum256([]byte(key))
	return "L" + base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:])[:31]
}

// Creates returns the workflow that stands for the key, as it begins.
func (m AcquireLock) Creates(now time.Time) *stabilize.Workflow {
	return &stabilize.Workflow{Header: stabilize.Header{
		ID: LockID(m.Key), Application: LockApplication, Name: m.Key, CreatedAt: stabilize.Instant(now),
	}}
}

// ReleaseLock gives a global exclusion key back, or the turn for it.
type ReleaseLock struct {
	OfWorkflow        // the lock
	Key        string `json:"key"`
	LockPlace
}

// Kind implements Message.
func (ReleaseLock) Kind() string { return "ReleaseLock" }

// LockGranted tells a workflow that it holds a global exclusion key.
type LockGranted struct {
	OfWorkflow
	Key    string `json:"key"`
	Ticket string `json:"ticket"`
}

// Kind implements Message.
func (LockGranted) Kind() string { return "LockGranted" }
