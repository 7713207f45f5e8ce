package resilience

import (
	"context"
	"sync"
)

// Cancels is a set of running things that can be told to stop, by key; several
// may share one. The zero value is empty and ready. Safe for concurrent use.
type Cancels struct {
	mu    sync.Mutex
	byKey map[string]map[*entry]struct{}
}

type entry struct{ cancel context.CancelCauseFunc }

// Add registers a running thing. remove must be called when it has ended;
// calling it again does nothing.
func (c *Cancels) Add(key string, cancel context.CancelCauseFunc) (remove func()) {
	e := &entry{cancel: cancel}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byKey == nil {
		c.byKey = map[string]map[*entry]struct{}{}
	}
	if c.byKey[key] == nil {
		c.byKey[key] = map[*entry]struct{}{}
	}
	c.byKey[key][e] = struct{}{}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.byKey[key], e)
		if len(c.byKey[key]) == 0 {
			delete(c.byKey, key)
		}
	}
}

// Cancel stops what is registered under key and returns how many it told. They
// stay registered until they end; of several causes the first counts.
func (c *Cancels) Cancel(key string, cause error) int {
	c.mu.Lock()
	told := make([]*entry, 0, len(c.byKey[key]))
	for e := range c.byKey[key] {
		told = append(told, e)
	}
	c.mu.Unlock()
	return cancelAll(told, cause)
}

// CancelAll is Cancel for every key.
func (c *Cancels) CancelAll(cause error) int {
	c.mu.Lock()
	var told []*entry
	for _, entries := range c.byKey {
		for e := range entries {
			told = append(told, e)
		}
	}
	c.mu.Unlock()
	return cancelAll(told, cause)
}

// cancelAll runs outside the lock: what it wakes may call remove at once.
func cancelAll(told []*entry, cause error) int {
	for _, e := range told {
		e.cancel(cause)
	}
	return len(told)
}
