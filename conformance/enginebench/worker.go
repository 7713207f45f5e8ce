package enginebench

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// workerCommand is the first argument of the program when it is started as a worker
// process, by itself.
const workerCommand = "worker"

// order is what a worker process is told, once, on its standard input: a data source
// name may hold a password and is no argument. Each further value that it reads there
// is answered by its counters; it ends with its input.
type order struct {
	DSN         string
	Concurrency int
	GOGC        int
	CountBytes  bool // that it writes
	Events      bool // are kept
	Lease       time.Duration
}

// word is what a worker process says on its standard output: that it is ready, that a
// workflow has ended, or where its counters stand.
type word struct {
	Ended  string            `json:",omitempty"` // id
	Status *stabilize.Status `json:",omitempty"`
	At     time.Time         `json:",omitzero"` // by the clock of the machine
	Counts *counts           `json:",omitempty"`
}

// counts are the counters of a process.
type counts struct {
	Steps, Commits, Batches, Claims, Trips, Writes, Bytes, CPU int64
	Allocs                                                     uint64
}

// teller writes words, from any goroutine.
type teller struct {
	clock stabilize.Clock

	mu  sync.Mutex
	out *json.Encoder
}

func (t *teller) tell(w word) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.out.Encode(w)
}

// Record implements events.Recorder.
func (t *teller) Record(_ context.Context, evs []events.Event) {
	for i := range evs {
		if e := &evs[i]; e.Type == events.WorkflowCompleted {
			_ = t.tell(word{Ended: e.WorkflowID, Status: &e.To, At: t.clock.Now()}) // whoever does not listen has ended us
		}
	}
}

// work is the program of a worker process.
func work(ctx context.Context, stdin io.Reader, stdout, stderr io.Writer) (err error) {
	orders := json.NewDecoder(stdin)
	var o order
	if err := orders.Decode(&o); err != nil {
		return err
	}
	defer debug.SetGCPercent(debug.SetGCPercent(o.GOGC))
	var clock stabilize.SystemClock
	var sent tally
	opened, err := openCounted(ctx, o.DSN, clock, &sent)
	if err != nil {
		return err
	}
	store := &counted{Store: opened}
	defer func() { err = errors.Join(err, store.Close()) }()
	says := &teller{clock: clock, out: json.NewEncoder(stdout)}
	b := &bench{
		opts: &options{concurrency: o.Concurrency, events: o.Events, lease: o.Lease}, clock: clock,
		log: slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	var ran atomic.Int64
	e, stop, err := b.startEngine(ctx, store, noop(&ran), engine.WithRecorder(says))
	if err != nil {
		return err
	}
	defer stop()
	for say := (word{}); ; {
		if err := says.tell(say); err != nil {
			return err
		}
		var ask struct{}
		if err := orders.Decode(&ask); err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return err
		}
		say.Counts = countsOf(store, e, ran.Load(), o.CountBytes)
		say.Counts.Trips, say.Counts.Writes = sent.sent()
	}
}

// noop is the task of every scenario but B6.
func noop(ran *atomic.Int64) stabilize.TaskType {
	return taskFunc(func(context.Context, *stabilize.Execution) (stabilize.Result, error) {
		ran.Add(1)
		return stabilize.Success(), nil
	})
}

func countsOf(store *counted, e *engine.Engine, steps int64, bytes bool) *counts {
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	c := &counts{Steps: steps, Claims: store.claims.Load(), CPU: int64(processCPU()), Allocs: mem.Mallocs}
	c.Batches, c.Commits = e.Commits()
	if bytes {
		c.Bytes, _ = writtenByProcess()
	}
	return c
}
