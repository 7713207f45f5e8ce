package transfer

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Options say what is moved.
type Options struct {
	// Query selects workflows; its zero value selects all. Limit is how many are
	// looked up at a time, Token is not used.
	Query persistence.Query
	// Messages knows the message types of the program; nil: those of package queue.
	Messages *queue.Registry
	// LeaveDead leaves dead letters behind. Without it Export refuses to leave any.
	LeaveDead bool
}

// Counts is what was moved.
type Counts struct {
	Workflows int
	Stages    int
	Messages  int
	Existing  int // workflows that the store had already; they were left as they are
}

// Export writes the workflows of a store that nobody works on. Messages that belong
// to no workflow, or to one that is about to be created by a selected one, go with
// them. Errors: ErrInvalidTransition while a worker holds a message of theirs, when
// a workflow changes meanwhile, when dead letters would be left behind, and, if all
// workflows are selected, when there are messages to workflows that do not exist;
// ErrInvalid for a message that cannot be decoded; those of the store and of to.
// What was written before an error cannot be imported to its end.
func Export(ctx context.Context, from persistence.Store, to io.Writer, o Options) (Counts, error) {
	x := &exporter{from: from, out: json.NewEncoder(to), options: o, selected: map[string]bool{}, listed: map[string]bool{}}
	x.out.SetEscapeHTML(false) // values are kept byte for byte
	if err := x.export(ctx); err != nil {
		return x.counts, fmt.Errorf("exporting workflows: %w", err)
	}
	return x.counts, nil
}

type exporter struct {
	from     persistence.Store
	out      *json.Encoder
	options  Options
	counts   Counts
	selected map[string]bool
	listed   map[string]bool // ids whose messages are out
	related  []string        // ids that selected workflows name
	keys     []string        // of concurrency limits
	limits   map[string]int  // of those that wait, by workflow
}

func (x *exporter) export(ctx context.Context) error {
	if x.options.Query.Token != "" {
		return stabilize.Invalid("query token", "is set")
	}
	x.limits = map[string]int{}
	if err := x.out.Encode(line{Opening: &opening{Of: content, Format: format}}); err != nil {
		return err
	}
	for q := x.options.Query; ; {
		page, err := x.from.Query(ctx, q)
		if err != nil {
			return err
		}
		for _, h := range page.Workflows {
			if err := x.workflow(ctx, h.ID); err != nil {
				return err
			}
		}
		if q.Token = page.Next; q.Token == "" {
			break
		}
	}
	if err := x.rest(ctx); err != nil {
		return err
	}
	if err := x.dead(ctx); err != nil {
		return err
	}
	for _, key := range slices.Compact(slices.Sorted(slices.Values(x.keys))) {
		if err := x.places(ctx, key); err != nil {
			return err
		}
	}
	return x.out.Encode(line{End: &x.counts})
}

func (x *exporter) workflow(ctx context.Context, id string) error {
	w, err := x.from.Load(ctx, id)
	if err != nil {
		return err
	}
	l := line{Version: w.Version}
	if l.Messages, err = x.messages(ctx, id); err != nil {
		return err
	}
	now, err := x.from.Summary(ctx, id)
	if err != nil {
		return err
	}
	if now.Version != w.Version {
		return stabilize.NotAllowed("workflow "+id, "it changes while it is exported; stop the workers first")
	}
	if l.Workflow, err = persistence.EncodeHeader(&w.Header); err != nil {
		return err
	}
	for _, s := range w.Stages {
		body, err := persistence.EncodeStage(s)
		if err != nil {
			return err
		}
		l.Stages = append(l.Stages, body)
		for _, t := range s.Tasks {
			if child := t.Waits().Child; child != "" {
				x.related = append(x.related, child)
			}
		}
	}
	for _, lock := range w.Locks {
		x.related = append(x.related, queue.LockID(lock.Key))
	}
	if w.Parent != nil {
		x.related = append(x.related, w.Parent.WorkflowID)
	}
	if key := w.ConcurrencyKey(); key != "" {
		x.keys = append(x.keys, key)
		x.limits[id] = w.MaxConcurrent
	}
	x.selected[id] = true
	x.counts.Workflows++
	x.counts.Stages += len(w.Stages)
	return x.out.Encode(l)
}

// messages returns what is stored for a workflow, once.
func (x *exporter) messages(ctx context.Context, workflowID string) ([]message, error) {
	stored, err := x.from.Pending(ctx, workflowID)
	if err != nil {
		return nil, err
	}
	x.listed[workflowID] = true
	var out []message
	for _, m := range stored {
		switch {
		case m.Leased:
			return nil, stabilize.NotAllowed("message "+m.ID, "a worker holds it; stop the workers first")
		case m.Message == nil:
			return nil, stabilize.Invalid("message "+m.ID, "of kind %q cannot be decoded", m.Kind)
		}
		body, err := queue.Encode(m.Message)
		if err != nil {
			return nil, err
		}
		out = append(out, message{ID: m.ID, Kind: m.Kind, Due: m.Due, Most: m.MaxAttempts, Body: body})
	}
	x.counts.Messages += len(out)
	return out, nil
}

// rest writes the messages of no workflow and those to workflows that selected ones
// name and that are not there.
func (x *exporter) rest(ctx context.Context) error {
	var l line
	for _, id := range append([]string{""}, x.related...) {
		if x.listed[id] {
			continue
		}
		if id != "" {
			if _, err := x.from.Summary(ctx, id); err == nil {
				continue // not selected
			}
		}
		more, err := x.messages(ctx, id)
		if err != nil {
			return err
		}
		l.Messages = append(l.Messages, more...)
	}
	if len(l.Messages) > 0 {
		if err := x.out.Encode(l); err != nil {
			return err
		}
	}
	if !x.all() {
		return nil
	}
	depth, err := x.from.Depth(ctx)
	if err != nil {
		return err
	}
	if left := depth.Live() - x.counts.Messages; left != 0 {
		return stabilize.NotAllowed("the queue", fmt.Sprintf("it has %d messages more than the workflows: to workflows that do not exist, or stored while it was read", left))
	}
	return nil
}

func (x *exporter) all() bool {
	q := x.options.Query
	return q.Application == "" && q.ConfigID == "" && len(q.Statuses) == 0 && q.StartedFrom.IsZero() && q.StartedBefore.IsZero()
}

// dead refuses to leave dead letters.
func (x *exporter) dead(ctx context.Context) error {
	if x.options.LeaveDead {
		return nil
	}
	for after := ""; ; {
		letters, err := x.from.ListDead(ctx, after, 100)
		if err != nil || len(letters) == 0 {
			return err
		}
		for _, d := range letters {
			if x.selected[d.WorkflowID] || x.all() {
				return stabilize.NotAllowed("dead letter "+d.ID, "it would be left behind; replay or discard it, or leave the dead letters")
			}
		}
		after = letters[len(letters)-1].ID
	}
}

func (x *exporter) places(ctx context.Context, key string) error {
	a, err := x.from.Admissions(ctx, key)
	if err != nil {
		return err
	}
	p := places{Key: key}
	for _, id := range a.Holding {
		if x.selected[id] {
			p.Holding = append(p.Holding, id)
		}
	}
	for _, id := range a.Waiting {
		if x.selected[id] {
			p.Waiting = append(p.Waiting, waiter{ID: id, Limit: x.limits[id]})
		}
	}
	if len(p.Holding)+len(p.Waiting) == 0 {
		return nil
	}
	return x.out.Encode(line{Places: &p})
}
