package conformance

import (
	"context"
	"fmt"
	"math"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Run runs every check in a sub-test named by its id, on a harness of its own,
// several at once (OneAtATime), and returns when all have ended. Nothing is
// skipped: a check that needs a power which the harness declares the backend
// lacks (Lacking) is no sub-test, and the log says so; a power that is missing
// without being declared, or there in spite of it, is a failure that names it.
//
// A clause that hangs is given up (Within). When a clause has ended, and again
// when its harness is cleaned up, what it left open is a failure: see
// OpenCounter and SharedGoroutines. What the backends of a suite share is opened
// before Run, or by the first harness, which no clause uses.
//
// Suites call it.
func Run[H any](t *testing.T, checks []Check[H], newHarness func(*testing.T) H, handle func(H) any, opts ...Option) {
	t.Helper()
	o := optionsOf(testing.Short(), opts)
	started := time.Now()
	results := make([]Result, len(checks))
	for i, c := range checks {
		results[i] = Result{Suite: o.suite, ID: c.ID, Group: c.Group, Sentence: c.Sentence, Verdict: LeftOut, Detail: "the harness could not be used"}
	}
	var ofHarness []Result
	unfinished := "the harness could not be made; the test's log says why"
	defer func() { // also when the constructor ends the test
		if unfinished != "" {
			ofHarness = append(ofHarness, harnessResult(o.suite, unfinished))
		}
		conclude(t, o, started, slices.Concat(ofHarness, results))
	}()
	probe := made(t, newHarness)
	if unfinished = wrongWith(probe); unfinished != "" {
		t.Error(unfinished)
		return
	}
	unfinished = "the suite did not run to its end"

	lacks := lackedBy(probe)
	wrong := unknownPowers(lacks)
	var lacking []string
	var admitted []int
	for i, c := range checks {
		run, problem := admit(c.Needs, has(c.Needs, probe, handle(probe)), slices.Contains(lacks, c.Needs))
		switch {
		case problem != "":
			at := slices.IndexFunc(wrong, func(m *misdeclared) bool { return m.power == c.Needs })
			if at < 0 {
				at = len(wrong)
				wrong = append(wrong, &misdeclared{power: c.Needs, problem: problem})
			}
			wrong[at].clauses = append(wrong[at].clauses, c.ID)
			results[i].Detail = "not run, see " + wrong[at].id()
		case !run:
			lacking = append(lacking, fmt.Sprintf("%s (%s)", c.ID, c.Needs))
			results[i].Detail = fmt.Sprintf("the harness declares that the backend lacks %s", c.Needs)
		default:
			admitted = append(admitted, i)
		}
	}
	for _, m := range wrong {
		ofHarness = append(ofHarness, m.report(t, o.suite))
	}
	t.Logf("%d of %d clauses are run", len(admitted), len(checks))
	if len(lacking) > 0 {
		t.Logf("this backend declares that it lacks: %s", strings.Join(lacking, ", "))
	}
	runAll(t, checks, newHarness, o, admitted, results)
	unfinished = ""
}

// runAll runs the checks admitted, several at once, and writes their results. It
// begins no more when enough have hung.
func runAll[H any](t *testing.T, checks []Check[H], newHarness func(*testing.T) H, o *options, admitted []int, results []Result) {
	t.Helper()
	p := &patience{limit: o.limit}
	next := make(chan int)
	var workers sync.WaitGroup
	for range min(o.workers, len(admitted)) {
		workers.Go(func() {
			for i := range next {
				subTest(t, checks[i], newHarness, o, p, &results[i])
			}
		})
	}
	left := 0
	for _, i := range admitted {
		if p.over() {
			left++
			results[i].Detail = fmt.Sprintf("not run: the suite was given up after %d clauses that hung", enough)
			continue
		}
		next <- i
	}
	close(next)
	workers.Wait()
	if left > 0 {
		t.Errorf("the suite was given up after %d clauses that hung; %d clauses were not run", enough, left)
	}
}

// conclude says what to do about the first failure, and adds to the report.
func conclude(t *testing.T, o *options, started time.Time, results []Result) {
	t.Helper()
	found := Report{Results: results}
	if first, ok := found.First(); ok {
		t.Logf("%d clauses failed. %s", found.Count(Failed), advice(o.command, t.Name(), first))
	}
	if o.report != nil {
		o.report.Results = append(o.report.Results, results...)
		o.report.Seconds += time.Since(started).Seconds()
		if o.report.Started.IsZero() {
			o.report.Started = started.UTC().Truncate(time.Second)
		}
	}
}

// advice says what to do about the first failure.
func advice(command, test string, first Result) string {
	if first.ID != harnessID { // which has no sub-test
		test += "/" + first.ID
	}
	var pattern []string
	for part := range strings.SplitSeq(test, "/") {
		pattern = append(pattern, "^"+regexp.QuoteMeta(part)+"$")
	}
	return fmt.Sprintf("Begin with %s, the others may follow from it; run it alone with\n\t%s '%s'\n%s",
		first.ID, command, strings.Join(pattern, "/"), owed(first.Group))
}

// owed says where it is written what a backend owes in a group.
func owed(group string) string {
	read := GroupOf(group).Read
	if read == "" {
		read = "persistence.Store, queue.Queue"
	}
	return fmt.Sprintf("What is owed there is in the comments of %s (go doc); all promises are in docs/contract.md.", read)
}

// subTest runs one check and writes its result.
func subTest[H any](t *testing.T, c Check[H], newHarness func(*testing.T) H, o *options, p *patience, result *Result) {
	var w *watched
	ready := false
	started := time.Now()
	ok := t.Run(c.ID, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		w = &watched{T: t, ctx: ctx}
		named := Named(w, c.Clause)
		mark := fmt.Sprintf("%s %p", t.Name(), t)
		label(t.Context(), mark)
		t.Cleanup(func() { // after those of the harness
			if w.givenUp {
				return // it says so already
			}
			unlabel()
			if problem := leftRunning(mark, o.goroutines, p.grace()); problem != "" {
				p.leaked()
				named.Errorf("%s", problem)
			}
		})
		h := made(t, newHarness)
		ready = true
		counter, _ := Find[OpenCounter](h)
		var before map[string]int
		if counter != nil {
			var err error
			if before, err = counter.InUse(t.Context()); err != nil {
				t.Fatalf("what is in use cannot be counted: %v", err)
			}
		}
		w.guard(named, o.limit, mark, os.Stderr, func() { c.Run(named, h, o.effort) })
		cancel()
		if w.givenUp {
			p.hung()
		} else {
			if problem := leftOpen(t.Context(), counter, before, p.grace()); problem != "" {
				p.leaked()
				named.Errorf("%s", problem)
			}
		}
	})
	result.Seconds = math.Round(time.Since(started).Seconds()*1000) / 1000
	switch {
	case w == nil:
		result.Verdict, result.Detail = LeftOut, notAsked
	case !ok:
		result.Verdict, result.Detail = Failed, w.first
		if w.first == "" {
			result.Detail = "the harness failed; the test's log says how"
		}
		if !ready {
			result.Detail = "the harness could not be made; the test's log says why"
		}
	default:
		result.Verdict, result.Detail = Passed, ""
	}
}

// admit decides whether a clause that needs a power is run, or what is wrong
// with what the harness declares.
func admit(needs Power, present, lacked bool) (run bool, problem string) {
	switch {
	case present && lacked && needs != "":
		return false, fmt.Sprintf("the harness declares that the backend lacks %s, and it has it", needs)
	case !present && !lacked:
		return false, fmt.Sprintf("the backend has no %s, and the harness does not declare that it lacks it (conformance.Lacking)", needs)
	default:
		return present, ""
	}
}

// Named makes every failure of t say which promise was broken.
func Named(t T, c Clause) T { return named{t, c} }

type named struct {
	T
	clause Clause
}

func (n named) Errorf(format string, args ...any) {
	n.Helper()
	n.T.Errorf("%s", n.text(format, args))
}

func (n named) Fatalf(format string, args ...any) {
	n.Helper()
	n.T.Fatalf("%s", n.text(format, args))
}

func (n named) text(format string, args []any) string {
	by := ""
	if slices.Contains(pastStore(), n.clause.Needs) {
		by = fmt.Sprintf("(with the harness's %s: see first that it does its part) ", n.clause.Needs)
	}
	return fmt.Sprintf("%s is broken. Promised: %s\nSeen: %s%s", n.clause.ID, n.clause.Sentence, by, fmt.Sprintf(format, args...))
}

// Outcome is how a recorded check went.
type Outcome struct {
	Failures []string
	Lacks    Power // not empty: it did not run, for want of this
	Log      []string
}

// Failed reports whether the check found a broken promise.
func (o Outcome) Failed() bool { return len(o.Failures) > 0 }

// Record runs one check without failing a test, and tells how it went. A panic
// counts as a failure. It is how a suite is tested itself.
func Record[H any](ctx context.Context, name string, c Check[H], h H, handle any, effort Effort) Outcome {
	if !has(c.Needs, h, handle) {
		return Outcome{Lacks: c.Needs}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := &recorder{ctx: ctx, name: name}
	t := Named(r, c.Clause)
	done := make(chan struct{})
	go func() { // Fatalf ends the goroutine it is called in
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				t.Errorf("panic: %v", p)
			}
		}()
		c.Run(t, h, effort)
	}()
	<-done
	r.mu.Lock()
	defer r.mu.Unlock()
	return Outcome{Failures: slices.Clone(r.out.Failures), Log: slices.Clone(r.out.Log)}
}

type recorder struct {
	ctx  context.Context
	name string
	mu   sync.Mutex
	out  Outcome
}

func (r *recorder) Helper()                  {}
func (r *recorder) Name() string             { return r.name }
func (r *recorder) Context() context.Context { return r.ctx }

func (r *recorder) Logf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.out.Log = append(r.out.Log, fmt.Sprintf(format, args...))
}

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.out.Failures = append(r.out.Failures, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}
