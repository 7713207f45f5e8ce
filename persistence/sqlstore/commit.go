package sqlstore

import (
	"context"
	"time"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// CommitBatch implements persistence.WorkflowStore. The batch is one
// transaction: readers see its commits together.
func (s *Store) CommitBatch(ctx context.Context, commits []*persistence.Commit) []error {
	if len(commits) == 0 {
		return nil
	}
	errs := make([]error, len(commits))
	work := make([]change, 0, len(commits))
	for i, c := range commits {
		ch := change{Commit: c, slot: i}
		if errs[i] = s.encode(&ch); errs[i] == nil {
			work = append(work, ch)
		}
	}
	claimable, err := s.commitWork(ctx, work)
	if err != nil {
		for i := range errs {
			errs[i] = err
		}
		return errs
	}
	for i := range work {
		errs[work[i].slot] = work[i].err
	}
	s.ping(claimable)
	return errs
}

// commitWork applies the batch and leaves in each change what became of it.
func (s *Store) commitWork(ctx context.Context, work []change) (claimable bool, err error) {
	if s.pg != nil && plain(work) {
		return s.commitSet(ctx, work)
	}
	for {
		doomed := false
		err = s.write(ctx, "commit", func(tx *wtx) error {
			// Without work too: that the store is closed comes before what is wrong with a commit.
			if len(work) == 0 {
				return errNothingToWrite
			}
			b := newBatch(tx, s.now())
			if err := b.run(work); err != nil {
				return err
			}
			claimable, doomed = b.claimable, b.doomed
			if b.doomed || b.applied == 0 {
				return errNothingToWrite
			}
			return nil
		})
		if err != nil || !doomed {
			return claimable, err
		}
	}
}

// change is a commit with its stored forms, made before the write lock is taken.
type change struct {
	*persistence.Commit

	slot   int
	header []byte
	stages [][]byte
	msgs   []message

	err     error
	refused bool // err is final: it was found after something had been written
}

// message is an Outgoing with its stored form.
type message struct {
	id       string
	given    bool // by the caller: it may be in use
	kind     string
	lane     queue.Lane
	workflow string
	at       time.Time
	attempts int // at most
	lease    *queue.Lease
	body     []byte
}

func (s *Store) encode(ch *change) error {
	if err := ch.Validate(); err != nil {
		return err
	}
	var err error
	if ch.Header != nil {
		if ch.header, err = s.fit("workflow " + ch.WorkflowID)(persistence.EncodeHeader(tidyHeader(ch.Header))); err != nil {
			return err
		}
	}
	if len(ch.Stages) > 0 {
		ch.stages = make([][]byte, len(ch.Stages))
		for i, st := range ch.Stages {
			if ch.stages[i], err = s.fit("stage " + st.Ref)(persistence.EncodeStage(tidyStage(st))); err != nil {
				return err
			}
		}
	}
	ch.msgs, err = s.encodeMessages(ch.Messages)
	return err
}

func (s *Store) encodeMessages(out []queue.Outgoing) ([]message, error) {
	msgs := make([]message, len(out))
	for i := range out {
		o, m := &out[i], &msgs[i]
		body, err := s.fit("message " + o.Message.Kind())(queue.Encode(o.Message))
		if err != nil {
			return nil, err
		}
		if o.At.Year() > 9999 {
			return nil, stabilize.Invalid("message due", "%s is after the year 9999", o.At)
		}
		*m = message{
			id: o.ID, given: o.ID != "", kind: o.Message.Kind(), lane: queue.LaneOf(o.Message),
			workflow: queue.WorkflowOf(o.Message), at: o.At, attempts: o.MaxAttempts, lease: o.Lease, body: body,
		}
		if m.lane != queue.Work {
			m.lane = queue.Control
		}
		if !m.given {
			m.id = s.cfg.IDs.New()
		}
		if m.attempts == 0 {
			m.attempts = queue.DefaultMaxAttempts
		}
		if err := s.checkTexts(m); err != nil {
			return nil, err
		}
	}
	return msgs, nil
}

// fit passes on what was encoded if it is not too large.
func (s *Store) fit(what string) func([]byte, error) ([]byte, error) {
	return func(body []byte, err error) ([]byte, error) {
		if err == nil && int64(len(body)) > s.cfg.MaxPayload {
			err = &stabilize.TooLargeError{What: what, Size: int64(len(body)), Max: s.cfg.MaxPayload}
		}
		return body, err
	}
}
