package mongostore

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// aggregate is what a commit has to know of a workflow's document: all but the
// bodies. What a handle remembers may be out of date; then the compare-and-set
// finds nothing, and the document is read.
type aggregate struct {
	id      string
	rev     string
	txs     []string
	settled map[string]bool // those of txs that are known to be finished
	version int64           // 0: a document that a creation has left
	inc     string
	created time.Time
	mark    mark
	keys    []string
	header  kept
	stages  map[string]keptStage
	size    int64 // of the document in bytes, without what is counted in reserve
	fresh   bool  // read in this call
}

// kept is where a body is.
type kept struct {
	payload string
	size    int64
}

type keptStage struct {
	ref             string // what cannot change, with the two below
	round, position int
	kept
}

// stage has of a stage what a commit must not change.
func (k *keptStage) stage(id string) *stabilize.Stage {
	return &stabilize.Stage{ID: id, Ref: k.ref, Round: k.round, Position: k.position}
}

func (w *workflow) aggregate() *aggregate {
	a := &aggregate{
		id: w.ID, rev: w.Rev, txs: w.Txs, version: w.Version, inc: w.Inc, created: instant(w.Created), mark: w.Mark,
		keys: w.Keys, header: w.Header.kept(), stages: make(map[string]keptStage, len(w.Stages)), settled: map[string]bool{},
	}
	a.size = a.header.bytes()
	for f, st := range w.Stages {
		id := stageID(f)
		k := keptStage{ref: st.Ref, round: int(st.Round), position: int(st.Position), kept: st.Part.kept()}
		a.stages[id] = k
		a.size += k.bytes(id)
	}
	return a
}

func (p *part) kept() kept { return kept{payload: p.Payload, size: p.Size} }

// usesPayloads reports whether a body of it is in payloads.
func (a *aggregate) usesPayloads() bool {
	if a.header.payload != "" {
		return true
	}
	for _, st := range a.stages {
		if st.payload != "" {
			return true
		}
	}
	return false
}

// cache holds aggregates that nobody works on. Whoever takes one owns it.
type cache struct {
	mu     sync.Mutex
	byID   map[string]*aggregate
	stages int
}

// cacheStages bounds what a cache holds, counting each aggregate as a stage more.
const cacheStages = 100_000

func newCache() *cache { return &cache{byID: map[string]*aggregate{}} }

func (c *cache) take(id string) *aggregate {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.byID[id]
	if a != nil {
		delete(c.byID, id)
		c.stages -= len(a.stages) + 1
		a.fresh = false
	}
	return a
}

func (c *cache) put(a *aggregate) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.byID[a.id]; old != nil {
		if old.version > a.version {
			return
		}
		c.stages -= len(old.stages) + 1
	}
	c.byID[a.id] = a
	c.stages += len(a.stages) + 1
	for id, other := range c.byID { // in no order
		if c.stages <= cacheStages {
			break
		}
		if id != a.id {
			delete(c.byID, id)
			c.stages -= len(other.stages) + 1
		}
	}
}

// learn remembers a document that was read, unless what is remembered is as new: it
// knows more.
func (c *cache) learn(doc *workflow) {
	c.mu.Lock()
	old := c.byID[doc.ID]
	known := old != nil && (old.rev == doc.Rev || old.version > doc.Version)
	c.mu.Unlock()
	if !known {
		c.put(doc.aggregate())
	}
}

func (c *cache) forget(id string) { _ = c.take(id) }

// locks keep apart, within a handle, what would only wait for each other in the
// database.
type locks struct {
	mu     sync.Mutex
	byName map[string]*lock
}

type lock struct {
	held  chan struct{}
	users int
}

func newLocks() *locks { return &locks{byName: map[string]*lock{}} }

func (l *locks) lock(ctx context.Context, name string) (unlock func(), err error) {
	l.mu.Lock()
	k := l.byName[name]
	if k == nil {
		k = &lock{held: make(chan struct{}, 1)}
		l.byName[name] = k
	}
	k.users++
	l.mu.Unlock()
	leave := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if k.users--; k.users == 0 {
			delete(l.byName, name)
		}
	}
	select {
	case k.held <- struct{}{}:
		return func() { <-k.held; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}

// flights are the tokens of commits that are on their way.
type flights struct {
	mu       sync.Mutex
	now      map[string]bool
	watchers map[*map[string]bool]bool
}

func newFlights() *flights {
	return &flights{now: map[string]bool{}, watchers: map[*map[string]bool]bool{}}
}

func (f *flights) begin(tx string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now[tx] = true
	for seen := range f.watchers {
		(*seen)[tx] = true
	}
}

func (f *flights) end(tx string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.now, tx)
}

// watch returns the tokens that were on their way at any time until stop is called;
// they may be read after that.
func (f *flights) watch() (seen map[string]bool, stop func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	seen = maps.Clone(f.now)
	f.watchers[&seen] = true
	return seen, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.watchers, &seen)
	}
}
