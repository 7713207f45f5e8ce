package sqlstore

import (
	"context"

	"github.com/stabilize-dev/go-stabilize/persistence"
)

// CommitBatch implements persistence.WorkflowStore. The batch is one
// transaction: readers see its commits together.
func (s *Store) CommitBatch(ctx context.Context, commits []*persistence.Commit) []error {
	errs, claimable := s.commitBatch(ctx, commits, s.commitWork)
	s.ping(claimable)
	return errs
}

// TryBatch implements persistence.Trier.
func (s *Store) TryBatch(ctx context.Context, commits []*persistence.Commit) []error {
	do := s.commitWork
	if s.pg != nil {
		do = s.tryWork
	}
	errs, claimable := s.commitBatch(ctx, commits, do)
	s.ping(claimable)
	return errs
}

// commitBatch has the commits applied that can be encoded.
func (s *Store) commitBatch(ctx context.Context, commits []*persistence.Commit,
	do func(context.Context, []change) (claimable bool, err error),
) (errs []error, claimable bool) {
	if len(commits) == 0 {
		return nil, false
	}
	errs = make([]error, len(commits))
	work := make([]change, 0, len(commits))
	for i, c := range commits {
		ch := change{Commit: c, slot: i}
		if errs[i] = s.encode(&ch); errs[i] == nil {
			work = append(work, ch)
		}
	}
	claimable, err := do(ctx, work)
	if err != nil {
		for i := range errs {
			errs[i] = err
		}
		return errs, false
	}
	for i := range work {
		errs[work[i].slot] = work[i].err
	}
	return errs, claimable
}

// commitWork applies the batch and leaves in each change what became of it.
func (s *Store) commitWork(ctx context.Context, work []change) (claimable bool, err error) {
	if s.pg != nil && plain(work) {
		return s.commitSet(ctx, work, false)
	}
	return s.commitEach(ctx, s, work)
}

// commitEach applies one commit after the other, in one transaction.
func (s *Store) commitEach(ctx context.Context, on access, work []change) (claimable bool, err error) {
	for {
		doomed := false
		err = on.write(ctx, "commit", func(tx *wtx) error {
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
			return tx.notify(claimable)
		})
		if err != nil || !doomed {
			return claimable, err
		}
	}
}

// change is a commit with its stored forms, made before the write lock is taken.
type change struct {
	*persistence.Commit

	enc     *persistence.Encoded
	slot    int
	err     error
	refused bool // err is final: it was found after something had been written
}

func (s *Store) encode(ch *change) (err error) {
	if ch.enc, err = ch.Encode(s.cfg.IDs, s.cfg.MaxPayload); err != nil {
		return err
	}
	for i := range ch.enc.Messages {
		if err := s.checkTexts(&ch.enc.Messages[i]); err != nil {
			return err
		}
	}
	return nil
}
