package handlers

import (
	"container/list"
	"sync"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// cache keeps recently used workflows in memory. A workflow that is being
// decided is taken out, so nobody else in this process sees it change; whether
// it is still the newest, the version check at commit tells.
type cache struct {
	mu    sync.Mutex
	max   int
	byID  map[string]*list.Element // nil for one that is taken
	order *list.List               // of *stabilize.Workflow, the most recently used first
}

func newCache(size int) *cache {
	return &cache{max: size, byID: map[string]*list.Element{}, order: list.New()}
}

// take removes and returns a workflow, or nil.
func (c *cache) take(id string) *stabilize.Workflow {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.byID[id]
	if e == nil {
		return nil
	}
	c.byID[id] = nil
	return c.order.Remove(e).(*stabilize.Workflow)
}

// has reports whether a workflow is kept or taken: as far as this process knows
// it has not ended.
func (c *cache) has(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, known := c.byID[id]
	return known
}

// put keeps the workflow that was taken by that id; without one, or if it has
// ended or was never stored, it is let go.
func (c *cache) put(id string, w *stabilize.Workflow) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if w == nil || w.Version == 0 || w.Status.IsComplete() || c.max <= 0 {
		if e, known := c.byID[id]; known && e == nil {
			delete(c.byID, id)
		}
		return
	}
	if old := c.byID[w.ID]; old != nil { // two mailboxes never hold one workflow; a request without one may
		c.order.Remove(old)
	}
	c.byID[w.ID] = c.order.PushFront(w)
	for c.order.Len() > c.max {
		last := c.order.Back()
		delete(c.byID, last.Value.(*stabilize.Workflow).ID)
		c.order.Remove(last)
	}
}
