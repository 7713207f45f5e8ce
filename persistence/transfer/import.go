package transfer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Import stores what Export has written. Each workflow is stored in one step with
// its messages; one whose id the store has already is left as it is, and counted.
// Workflows begin at version 1, but for those with a parent, which keep theirs: a
// parent goes by it. Nobody may work on the store meanwhile: places under limits
// are given when all workflows are there. Errors: ErrInvalid, naming the line, for
// what Export has not written, also if the end is missing; those of the store.
// After an error what was stored stays, and the import can be run again.
func Import(ctx context.Context, to persistence.Store, from io.Reader, o Options) (Counts, error) {
	m := &importer{to: to, messages: o.Messages}
	if m.messages == nil {
		m.messages = queue.NewRegistry()
	}
	in := json.NewDecoder(from)
	in.DisallowUnknownFields()
	for n := 1; ; n++ {
		var l line
		err := in.Decode(&l)
		switch {
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			err = stabilize.Invalid("export", "it is cut off")
		case err != nil:
			err = stabilize.Invalid("export", "%v", err)
		default:
			err = m.line(ctx, n, &l)
		}
		if err != nil {
			return m.counts, fmt.Errorf("importing workflows: line %d: %w", n, err)
		}
		if l.End != nil {
			return m.counts, nil
		}
	}
}

// Copy exports from one store into another. It returns what Import does.
func Copy(ctx context.Context, from, to persistence.Store, o Options) (Counts, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	in, out := io.Pipe()
	exported := make(chan error, 1)
	go func() {
		_, err := Export(ctx, from, out, o)
		out.CloseWithError(err)
		exported <- err
	}()
	counts, err := Import(ctx, to, in, o)
	cancel()
	in.CloseWithError(io.ErrClosedPipe)
	if failed := <-exported; failed != nil && !errors.Is(failed, context.Canceled) && !errors.Is(failed, io.ErrClosedPipe) {
		return counts, failed
	}
	return counts, err
}

// batchSize is how many workflows, stages and messages are stored at a time, or
// one workflow that has more.
const batchSize = 500

type importer struct {
	to       persistence.Store
	messages *queue.Registry
	counts   Counts
	seen     Counts

	batch    []*persistence.Commit
	versions []int64 // of the workflows in batch
	size     int
}

func (m *importer) line(ctx context.Context, n int, l *line) error {
	switch {
	case (n == 1) != (l.Opening != nil):
		return stabilize.Invalid("export", "it does not begin with a line that says what it is")
	case l.Opening != nil:
		if l.Opening.Of != content || l.Opening.Format != format {
			return stabilize.Invalid("export", "of %q in format %d is unknown; known is %q in format %d", l.Opening.Of, l.Opening.Format, content, format)
		}
		return nil
	case l.Workflow != nil:
		return m.workflow(ctx, l)
	}
	if err := m.flush(ctx); err != nil {
		return err
	}
	switch {
	case l.End != nil:
		if l.End.Workflows != m.seen.Workflows || l.End.Stages != m.seen.Stages || l.End.Messages != m.seen.Messages {
			return stabilize.Invalid("export", "something is missing: it says %+v, and has %+v", *l.End, m.seen)
		}
		return nil
	case l.Places != nil:
		return m.places(ctx, l.Places)
	default:
		return m.loose(ctx, l)
	}
}

func (m *importer) workflow(ctx context.Context, l *line) error {
	var id struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(l.Workflow, &id); err != nil {
		return stabilize.Invalid("workflow", "%v", err)
	}
	h, err := persistence.DecodeHeader(id.ID, 0, l.Workflow)
	if err != nil {
		return stabilize.Invalid("workflow "+id.ID, "%v", err)
	}
	c := &persistence.Commit{WorkflowID: h.ID, Header: h}
	for _, body := range l.Stages {
		if err := json.Unmarshal(body, &id); err != nil {
			return stabilize.Invalid("stage of workflow "+h.ID, "%v", err)
		}
		s, err := persistence.DecodeStage(id.ID, 0, body)
		if err != nil {
			return stabilize.Invalid("stage "+id.ID+" of workflow "+h.ID, "%v", err)
		}
		c.Stages = append(c.Stages, s)
	}
	if c.Messages, err = m.outgoing(l.Messages); err != nil {
		return err
	}
	m.seen.Workflows++
	m.seen.Stages += len(l.Stages)
	m.seen.Messages += len(l.Messages)
	m.batch = append(m.batch, c)
	m.versions = append(m.versions, l.Version)
	if m.size += len(c.Stages) + len(c.Messages) + 1; m.size < batchSize {
		return nil
	}
	return m.flush(ctx)
}

// flush stores the workflows that were read.
func (m *importer) flush(ctx context.Context) error {
	batch, versions := m.batch, m.versions
	m.batch, m.versions, m.size = nil, nil, 0
	if len(batch) == 0 {
		return nil
	}
	var failed error
	for i, err := range m.to.CommitBatch(ctx, batch) {
		var exists *stabilize.ExistsError
		switch c := batch[i]; {
		case errors.As(err, &exists) && exists.Kind == "workflow":
			m.counts.Existing++
		case err != nil:
			failed = errors.Join(failed, fmt.Errorf("workflow %s: %w", c.WorkflowID, err))
		default:
			m.counts.Workflows++
			m.counts.Stages += len(c.Stages)
			m.counts.Messages += len(c.Messages)
		}
	}
	if failed != nil {
		return failed
	}
	for i, c := range batch {
		if c.Header.Parent == nil {
			continue
		}
		if err := m.raise(ctx, c.WorkflowID, versions[i]); err != nil {
			return err
		}
	}
	return nil
}

// raise brings a workflow to a version.
func (m *importer) raise(ctx context.Context, id string, to int64) error {
	h, err := m.to.Summary(ctx, id)
	if err != nil {
		return err
	}
	for at := h.Version; at < to; {
		var batch []*persistence.Commit
		for ; at < to && len(batch) < 100; at++ {
			batch = append(batch, &persistence.Commit{WorkflowID: id, Expect: at})
		}
		if err := errors.Join(m.to.CommitBatch(ctx, batch)...); err != nil {
			return fmt.Errorf("bringing workflow %s to version %d: %w", id, to, err)
		}
	}
	return nil
}

func (m *importer) outgoing(messages []message) ([]queue.Outgoing, error) {
	out := make([]queue.Outgoing, 0, len(messages))
	for _, s := range messages {
		decoded, err := m.messages.Decode(s.ID, s.Kind, s.Body)
		if err != nil {
			return nil, stabilize.Invalid("message "+s.ID, "%v", err)
		}
		out = append(out, queue.Outgoing{ID: s.ID, Message: decoded, At: s.Due, MaxAttempts: s.Most})
	}
	return out, nil
}

// loose stores the messages of no workflow that is here.
func (m *importer) loose(ctx context.Context, l *line) error {
	out, err := m.outgoing(l.Messages)
	if err != nil {
		return err
	}
	m.seen.Messages += len(out)
	for i := range out {
		switch err := m.to.Push(ctx, out[i]); {
		case errors.Is(err, stabilize.ErrExists): // of an import before
		case err != nil:
			return err
		default:
			m.counts.Messages++
		}
	}
	return nil
}

// places gives the workflows of one limit their places, and their turns.
func (m *importer) places(ctx context.Context, p *places) error {
	for _, id := range p.Holding {
		h, err := m.summary(ctx, id)
		if err != nil {
			return err
		}
		if !persistence.HoldsPlace(h.Status) {
			continue // it has gone on since an import before
		}
		// Whatever the limit: it had the place.
		take := &persistence.Commit{WorkflowID: id, Expect: h.Version, Admission: &persistence.Admission{Op: persistence.TakePlace, Key: p.Key}}
		if err := m.commit(ctx, take); err != nil {
			return fmt.Errorf("place of workflow %s: %w", id, err)
		}
	}
	for _, w := range p.Waiting {
		h, err := m.summary(ctx, w.ID)
		if err != nil {
			return err
		}
		if !persistence.KeepsTurn(h.Status) {
			continue
		}
		wait := &persistence.Commit{WorkflowID: w.ID, Expect: h.Version,
			Admission: &persistence.Admission{Op: persistence.WaitForPlace, Key: p.Key, Limit: w.Limit}}
		err = m.commit(ctx, wait)
		if errors.Is(err, stabilize.ErrPlaceFree) { // its wake-up was lost
			wait.Admission = nil
			wait.Messages = []queue.Outgoing{{Message: queue.StartWorkflow{OfWorkflow: queue.ToWorkflow(w.ID)}}}
			err = m.commit(ctx, wait)
		}
		if err != nil {
			return fmt.Errorf("turn of workflow %s: %w", w.ID, err)
		}
	}
	return nil
}

// summary looks up a workflow that a line before has brought.
func (m *importer) summary(ctx context.Context, id string) (*stabilize.Header, error) {
	h, err := m.to.Summary(ctx, id)
	if errors.Is(err, stabilize.ErrNotFound) {
		return nil, stabilize.Invalid("export", "workflow %q has a place and is not there", id)
	}
	return h, err
}

func (m *importer) commit(ctx context.Context, c *persistence.Commit) error {
	return m.to.CommitBatch(ctx, []*persistence.Commit{c})[0]
}
