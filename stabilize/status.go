package stabilize

import (
	"fmt"
)

// Status is the state of a workflow, a stage or a task. The zero value is
// NotStarted. Names and transitions are the reference's (models/status.py).
type Status uint8

// The twelve statuses.
const (
	// NotStarted waits for its turn.
	NotStarted Status = iota
	// Running is under way.
	Running
	// Paused was stopped by a person and goes on when resumed.
	Paused
	// Suspended waits for a signal from outside.
	Suspended
	// Succeeded ended as meant.
	Succeeded
	// FailedContinue failed, and what follows goes on all the same.
	FailedContinue
	// Terminal failed for good; what follows does not run.
	Terminal
	// Canceled was ended from outside before it was done.
	Canceled
	// Redirect asks for another path; it is not an end.
	Redirect
	// Stopped ended early on purpose; its branch goes no further.
	Stopped
	// Skipped did not run; what follows goes on.
	Skipped
	// Buffered is a workflow that waits for a place under a concurrency limit.
	Buffered

	statusCount = iota
)

var statusNames = [statusCount]string{
	"NOT_STARTED", "RUNNING", "PAUSED", "SUSPENDED", "SUCCEEDED", "FAILED_CONTINUE",
	"TERMINAL", "CANCELED", "REDIRECT", "STOPPED", "SKIPPED", "BUFFERED",
}

// statusSet is a set of statuses as bits.
type statusSet uint16

func setOf(ss ...Status) statusSet {
	var set statusSet
	for _, s := range ss {
		set |= 1 << s
	}
	return set
}

func (set statusSet) has(s Status) bool { return set&(1<<s) != 0 }

// Statuses returns all twelve, in declaration order.
func Statuses() []Status {
	all := make([]Status, statusCount)
	for i := range all {
		all[i] = Status(i)
	}
	return all
}

// ParseStatus reads a status by its stored name, such as "FAILED_CONTINUE".
// An unknown name is ErrInvalid.
func ParseStatus(name string) (Status, error) {
	for i, n := range statusNames {
		if n == name {
			return Status(i), nil
		}
	}
	return 0, &InvalidError{Field: "status", Problem: fmt.Sprintf("unknown status %q", name)}
}

// Valid reports whether s is one of the twelve.
func (s Status) Valid() bool { return s < statusCount }

// String returns the stored name.
func (s Status) String() string {
	if !s.Valid() {
		return fmt.Sprintf("Status(%d)", uint8(s))
	}
	return statusNames[s]
}

// MarshalText implements encoding.TextMarshaler.
func (s Status) MarshalText() ([]byte, error) {
	if !s.Valid() {
		return nil, &InvalidError{Field: "status", Problem: s.String() + " is not a status"}
	}
	return []byte(statusNames[s]), nil
}

// UnmarshalText implements encoding.TextUnmarshaler; an unknown name is ErrInvalid.
func (s *Status) UnmarshalText(text []byte) error {
	parsed, err := ParseStatus(string(text))
	if err != nil {
		return err
	}
	*s = parsed
	return nil
}

// IsComplete reports an end: nothing more will happen to the entity.
func (s Status) IsComplete() bool {
	return setOf(Succeeded, FailedContinue, Terminal, Canceled, Stopped, Skipped).has(s)
}

// IsHalt reports an end after which nothing downstream runs.
func (s Status) IsHalt() bool { return setOf(Terminal, Canceled, Stopped).has(s) }

// IsSuccessful reports an end that is no failure.
func (s Status) IsSuccessful() bool { return setOf(Succeeded, Skipped).has(s) }

// IsFailure reports an end that is a failure, tolerated or not.
func (s Status) IsFailure() bool { return setOf(Terminal, Stopped, FailedContinue).has(s) }

// IsActive reports an entity that has begun and not ended.
func (s Status) IsActive() bool { return setOf(Running, Paused, Suspended, Redirect).has(s) }

// transitions is the reference's VALID_TRANSITIONS with additions of our own:
// whatever can hold a message or a wait may also fail (TERMINAL), so that a
// dead-lettered message or an undecodable state always ends in a visible
// status (design: "a message that can never be handled ends in a visible state").
func (s Status) transitions() statusSet {
	switch s {
	case NotStarted:
		return setOf(Running, Canceled, Skipped, Buffered, Terminal)
	case Buffered:
		return setOf(NotStarted, Running, Canceled, Skipped, Terminal)
	case Running:
		return setOf(Succeeded, FailedContinue, Terminal, Canceled, Paused, Stopped, Suspended, Redirect, Skipped)
	case Paused, Suspended:
		return setOf(Running, Canceled, Stopped, Terminal)
	case Redirect:
		return setOf(Running, Succeeded, Canceled, Terminal)
	default:
		return 0
	}
}

// CanTransition reports whether an entity in status s may move to status to.
// Staying is always allowed. No end status can be left: a restart opens a new
// round, it does not reopen an old one.
func (s Status) CanTransition(to Status) bool {
	return s.Valid() && to.Valid() && (s == to || s.transitions().has(to))
}
