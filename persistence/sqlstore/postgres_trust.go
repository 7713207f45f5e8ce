package sqlstore

import "sync/atomic"

// trust says whether a batch may be sent without the verdict: unless commits were
// refused of late. Batches that are in flight together may see it change.
type trust struct{ doubts atomic.Int32 }

// judgedAfterRefusal is how many batches, after one with a refused commit, are judged
// before they are written.
const judgedAfterRefusal = 8

// mayHope: only the verdict tells of a stage to remove that is not there, and what else
// stands against a commit that gets no place.
func (t *trust) mayHope(set *commitSet) bool {
	return len(set.removed.commit)+len(set.keys) == 0 && t.doubts.Load() == 0
}

// note takes what became of a batch that was judged.
func (t *trust) note(work []change) {
	for i := range work {
		if work[i].err != nil {
			t.doubts.Store(judgedAfterRefusal)
			return
		}
	}
	if n := t.doubts.Load(); n > 0 {
		t.doubts.CompareAndSwap(n, n-1)
	}
}

// doubted reports that a write found less than it should.
func doubted(err error) bool {
	code, _ := sqlState(err)
	return code == stateMoved || code == stateUnique
}
