package conformance

import (
	"flag"
	"reflect"
	"runtime"
	"strconv"
	"testing"
	"time"
)

// Option changes how a suite is run.
type Option func(*options)

type options struct {
	effort     Effort
	report     *Report
	suite      string
	limit      time.Duration
	command    string
	workers    int
	goroutines []string
	settings   map[reflect.Type]any
}

// At runs the suite with an effort; without it that is Full, or Short under
// go test -short.
func At(e Effort) Option { return func(o *options) { o.effort = e } }

// Into adds the result of every clause to a report when the suite has run. A
// report may take several suites, one after the other.
func Into(r *Report) Option { return func(o *options) { o.report = r } }

// InSuite names the suite in a report; the suites give it themselves.
func InSuite(name string) Option { return func(o *options) { o.suite = name } }

// Within is how long one clause may take before it is said to hang: its
// goroutines are written down, it fails, and the suite goes on, until three have
// hung: then it is given up. Without it that is three minutes, and fifteen under Stress and Differential.
func Within(d time.Duration) Option { return func(o *options) { o.limit = d } }

// AtOnce is how many clauses run at a time, each on a harness of its own;
// without it as many as go test -parallel says.
func AtOnce(n int) Option { return func(o *options) { o.workers = max(n, 1) } }

// OneAtATime is AtOnce(1): for a harness whose backends share something that two
// clauses must not use at once, and for constructors that use t.Setenv or t.Chdir.
func OneAtATime() Option { return AtOnce(1) }

// SharedGoroutines names goroutines that a clause may leave running, because the
// process has one of them for all, such as a driver's: by a part of the name of
// any function on their stack.
func SharedGoroutines(parts ...string) Option {
	return func(o *options) { o.goroutines = append(o.goroutines, parts...) }
}

// Command is what runs one clause again when a pattern follows it, said when one
// fails; without it that is "go test -run".
func Command(text string) Option { return func(o *options) { o.command = text } }

// Set makes an option of a value that only some suites read; it is known by its
// type. Suites make their own options of it.
func Set[V any](value V) Option {
	return func(o *options) {
		if o.settings == nil {
			o.settings = map[reflect.Type]any{}
		}
		o.settings[reflect.TypeFor[V]()] = value
	}
}

// Setting returns the value that was last Set. Suites call it.
func Setting[V any](opts []Option) (value V, ok bool) {
	value, ok = optionsOf(false, opts).settings[reflect.TypeFor[V]()].(V)
	return value, ok
}

// EffortOf returns the effort that the options come to. Suites call it.
func EffortOf(opts []Option) Effort { return optionsOf(testing.Short(), opts).effort }

// ReportOf returns the report of Into, or nil.
func ReportOf(opts []Option) *Report { return optionsOf(false, opts).report }

func optionsOf(short bool, opts []Option) *options {
	o := &options{workers: atOnce(), command: "go test -run"}
	if short {
		o.effort = Short
	}
	for _, opt := range opts {
		opt(o)
	}
	if o.limit <= 0 {
		o.limit = 3 * time.Minute
		if o.effort == Stress || o.effort == Differential {
			o.limit *= 5
		}
	}
	return o
}

// atOnce is what go test -parallel says.
func atOnce() int {
	if f := flag.Lookup("test.parallel"); f != nil {
		if n, err := strconv.Atoi(f.Value.String()); err == nil && n > 0 {
			return n
		}
	}
	return runtime.GOMAXPROCS(0)
}
