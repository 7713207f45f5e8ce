package queue

import (
	"strings"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// lastYear is the last that the stored form of a time, RFC 3339, can say.
const lastYear = 9999

// Encoded is an Outgoing as a store keeps it, its defaults filled in.
type Encoded struct {
	ID         string
	Given      bool // by the caller, so it may be in use; false: assigned just now
	Kind       string
	Lane       Lane   // Control or Work
	WorkflowID string // "" belongs to none
	At         time.Time
	// MaxAttempts is at least 1.
	MaxAttempts int
	Lease       *Lease
	Body        []byte
}

// Encode writes the stored form of a message that has passed Check. One without
// an id gets one from ids. A body longer than maxPayload bytes is ErrTooLarge, 0
// or less is no limit; one that cannot be written is ErrInvalid.
func (o *Outgoing) Encode(ids *stabilize.IDs, maxPayload int64) (Encoded, error) {
	kind := o.Message.Kind()
	body, err := Encode(o.Message)
	if err != nil {
		return Encoded{}, err
	}
	if err := stabilize.CheckSize("message "+kind, body, maxPayload); err != nil {
		return Encoded{}, err
	}
	e := Encoded{
		ID: o.ID, Given: o.ID != "", Kind: kind, Lane: LaneOf(o.Message), WorkflowID: WorkflowOf(o.Message),
		At: o.At, MaxAttempts: o.MaxAttempts, Lease: o.Lease, Body: body,
	}
	if e.Lane != Work {
		e.Lane = Control
	}
	if !e.Given {
		e.ID = ids.New()
	}
	if e.MaxAttempts == 0 {
		e.MaxAttempts = DefaultMaxAttempts
	}
	return e, nil
}

// DueAt is when a message is due that was asked for at a time: then, as
// stabilize.Instant has it, but not before now, the store's.
func DueAt(at, now time.Time) time.Time {
	if at = stabilize.Instant(at); at.Before(now) {
		return now
	}
	return at
}

// CheckRelease checks what Release is given, before any I/O, and returns the
// cause as LastError tells it: valid UTF-8, what was not replaced by U+FFFD.
// ErrInvalid.
func CheckRelease(r Receipt, at time.Time, cause error) (lastError string, err error) {
	if err := r.Check(); err != nil {
		return "", err
	}
	if at.Year() > lastYear {
		return "", stabilize.Invalid("release at", "%s is after the year %d", at, lastYear)
	}
	if cause != nil {
		lastError = strings.ToValidUTF8(cause.Error(), "\uFFFD")
	}
	return lastError, nil
}
