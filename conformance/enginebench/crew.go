package enginebench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// crew is worker processes of this program on one store. They tell of the end of
// each workflow, so that what is measured is the engine and not how often somebody
// looks.
type crew struct {
	workers []*hand

	mu      sync.Mutex
	ended   map[string]word      // nobody has waited for yet
	waiting map[string]chan word // room for one
	failed  chan struct{}        // closed when a worker has ended unasked
	once    sync.Once
}

// hand is one process.
type hand struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	ask    *json.Encoder
	answer chan *counts // nil: it is ready
	gone   chan struct{}
}

// hire starts workers on the store that was opened last.
func (b *bench) hire(ctx context.Context, workers int) (*crew, error) {
	dsn, count, err := b.site.shared()
	if err != nil {
		return nil, err
	}
	return hire(ctx, workers, order{
		DSN: dsn, Concurrency: b.opts.concurrency, GOGC: b.opts.gogc, CountBytes: count, Events: b.opts.events, Lease: b.opts.lease,
	}, b.stderr)
}

// hire starts n workers and returns when all are ready.
func hire(ctx context.Context, n int, o order, stderr io.Writer) (c *crew, err error) {
	c = &crew{ended: map[string]word{}, waiting: map[string]chan word{}, failed: make(chan struct{})}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.dismiss())
		}
	}()
	for range n {
		if err := c.add(ctx, o, stderr); err != nil {
			return c, err
		}
	}
	for _, h := range c.workers {
		if _, err := c.answerOf(ctx, h); err != nil {
			return c, err
		}
	}
	return c, nil
}

func (c *crew) add(ctx context.Context, o order, stderr io.Writer) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	h := &hand{cmd: exec.CommandContext(ctx, self, workerCommand), answer: make(chan *counts, 1), gone: make(chan struct{})}
	h.cmd.Stderr = stderr
	if h.stdin, err = h.cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := h.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := h.cmd.Start(); err != nil {
		return err
	}
	c.workers = append(c.workers, h)
	go func() {
		defer close(h.gone)
		c.listen(h, json.NewDecoder(out))
	}()
	h.ask = json.NewEncoder(h.stdin)
	return h.ask.Encode(o)
}

// listen hears a worker until it ends.
func (c *crew) listen(h *hand, says *json.Decoder) {
	for {
		var w word
		if err := says.Decode(&w); err != nil {
			c.once.Do(func() { close(c.failed) }) // if it was told to end, nobody waits any more
			return
		}
		if w.Ended == "" {
			h.answer <- w.Counts
			continue
		}
		if w.Status == nil {
			continue
		}
		c.mu.Lock()
		if waits := c.waiting[w.Ended]; waits != nil {
			waits <- w
			delete(c.waiting, w.Ended)
		} else {
			c.ended[w.Ended] = w
		}
		c.mu.Unlock()
	}
}

func errWorkerGone() error {
	return fmt.Errorf("%w: a worker process has ended", stabilize.ErrInternal)
}

func (c *crew) answerOf(ctx context.Context, h *hand) (*counts, error) {
	select {
	case n := <-h.answer:
		return n, nil
	case <-c.failed:
		return nil, errWorkerGone()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// wait returns when the workflow has succeeded, and when that was.
func (c *crew) wait(ctx context.Context, id string) (time.Time, error) {
	ended := make(chan word, 1)
	c.mu.Lock()
	if w, ok := c.ended[id]; ok {
		delete(c.ended, id)
		ended <- w
	} else {
		c.waiting[id] = ended
	}
	c.mu.Unlock()
	select {
	case w := <-ended:
		if *w.Status != stabilize.Succeeded {
			return time.Time{}, fmt.Errorf("%w: workflow %s ended %s", stabilize.ErrInternal, id, *w.Status)
		}
		return w.At, nil
	case <-c.failed:
		return time.Time{}, errWorkerGone()
	case <-ctx.Done():
		return time.Time{}, context.Cause(ctx)
	}
}

// counts asks all workers and returns the sum.
func (c *crew) counts(ctx context.Context) (sum counts, err error) {
	for _, h := range c.workers {
		if err := h.ask.Encode(struct{}{}); err != nil {
			return sum, err
		}
	}
	for _, h := range c.workers {
		n, err := c.answerOf(ctx, h)
		if err != nil {
			return sum, err
		}
		sum.add(n)
	}
	return sum, nil
}

func (c *counts) add(n *counts) {
	c.Steps += n.Steps
	c.Commits += n.Commits
	c.Batches += n.Batches
	c.Claims += n.Claims
	c.Bytes += n.Bytes
	c.CPU += n.CPU
	c.Allocs += n.Allocs
}

// dismiss ends all workers.
func (c *crew) dismiss() (err error) {
	for _, h := range c.workers {
		_ = h.stdin.Close()
	}
	for _, h := range c.workers {
		<-h.gone // all of its output is read
		if e := h.cmd.Wait(); e != nil {
			err = errors.Join(err, fmt.Errorf("a worker process: %w", e))
		}
	}
	return err
}
