package enginebench

import (
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// defaultGOGC trades memory for speed, as a server built for throughput does:
// workflows under way are small, and collecting often is what costs most on the
// memory store.
const defaultGOGC = 400

// defaultConcurrency is the default of -concurrency: as many tasks at once as
// B2 has chains, so that all of them can travel in one commit. More changes
// nothing that can be measured, fewer make smaller groups.
const defaultConcurrency = 256

// options are the flags.
type options struct {
	dsn        string // of a store of this module
	dir        string // where directories for one's own store are made
	scenarios  []string
	workers    []int // worker processes, in turn; 0: this one works
	json       bool
	runs       int
	cpuProfile string
	memProfile string

	events      bool // the stores keep them
	concurrency int
	gogc        int
	starters    int

	workflows int // 0: the scenario's own number
	stages    int // B2: of a chain; B6: of the short chain
	width     int // B3
	delayed   int // B5
	long      int // B6: stages of the long chain
	messages  int // B6: how many of them are run
	warmup    int // workflows before measuring

	rawSingle int // steps of the raw limit, one per commit
	rawGroups int // groups of the raw limit
	rawSize   int // steps of a group
	rawCrowd  int // steps of the raw limit, one per commit, on several connections

	lease time.Duration // of the engines; no flag. 0: their default
}

// rawGroup is how many workflows the raw limit has, and the default of -raw-size: how
// many steps it puts into one commit at most.
const rawGroup = 200

func parseOptions(args []string, byDSN bool, stderr io.Writer) (*options, error) {
	o := &options{}
	var scenario, workers string
	f := flag.NewFlagSet("enginebench", flag.ContinueOnError)
	f.SetOutput(stderr)
	if byDSN {
		f.StringVar(&o.dsn, "dsn", "", "`DSN` of the store: memory:, sqlite://, sqlite://PATH?synchronous=normal, postgres://USER:PASSWORD@HOST/DATABASE, mongodb://USER:PASSWORD@HOST/DATABASE")
	} else {
		f.StringVar(&o.dir, "dir", "", "existing `DIRECTORY` that the stores' are made in (default the system's for temporary files)")
	}
	f.StringVar(&scenario, "scenario", "all", "B1 to B6, several with commas, or all")
	if byDSN {
		f.StringVar(&workers, "workers", "0", "`NUMBER` of worker processes that run B1 to B5, while this one starts the workflows; several with commas in turn; 0: this one does both")
	}
	f.BoolVar(&o.json, "json", false, "print JSON instead of a table")
	f.IntVar(&o.runs, "runs", 1, "measure each scenario so often, in turn, and take the median of each number")
	f.StringVar(&o.cpuProfile, "cpuprofile", "", "write a CPU profile of what is measured, without the raw limit, to `FILE` (with several scenarios FILE.B1 and so on)")
	f.StringVar(&o.memProfile, "memprofile", "", "write a profile of allocations to `FILE` (as -cpuprofile)")
	f.BoolVar(&o.events, "events", false, "the store keeps the events of every commit")
	f.IntVar(&o.gogc, "gogc", defaultGOGC, "garbage collector target in percent, as GOGC (100 is Go's own)")
	f.IntVar(&o.concurrency, "concurrency", defaultConcurrency, "how many tasks the engine runs at once")
	f.IntVar(&o.starters, "starters", 64, "how many goroutines start workflows")
	f.IntVar(&o.workflows, "workflows", 0, "number of workflows (default by scenario: B1, B5 2000, B2 200, B3 20, B4 300, B6 5 long chains)")
	f.IntVar(&o.stages, "stages", 10, "stages of a chain in B2, of the short chain in B6")
	f.IntVar(&o.width, "width", 50, "parallel stages of a fan-out in B3")
	f.IntVar(&o.delayed, "delayed", 100_000, "delayed messages in the queue in B5")
	f.IntVar(&o.long, "long", 1000, "stages of the long chain in B6")
	f.IntVar(&o.messages, "messages", 50, "messages run of the long chain in B6")
	f.IntVar(&o.warmup, "warmup", 20, "workflows before measuring")
	f.IntVar(&o.rawSingle, "raw-single", 1000, "steps of the raw limit, one per commit")
	f.IntVar(&o.rawGroups, "raw-groups", 60, "groups of steps of the raw limit")
	f.IntVar(&o.rawSize, "raw-size", rawGroup, fmt.Sprintf("steps of a group of the raw limit, %d at most", rawGroup))
	f.IntVar(&o.rawCrowd, "raw-crowd", 4000, fmt.Sprintf("steps of the raw limit, one per commit, over %d connections (PostgreSQL, MongoDB)", rawConnections))
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, stabilize.Invalid("arguments", "%q is not a flag", f.Arg(0))
	}
	if byDSN && o.dsn == "" {
		return nil, stabilize.Invalid("-dsn", "is missing")
	}
	for name, n := range map[string]int{
		"runs": o.runs, "concurrency": o.concurrency, "gogc": o.gogc, "starters": o.starters, "stages": o.stages, "width": o.width,
		"messages": o.messages, "raw-single": o.rawSingle, "raw-groups": o.rawGroups, "raw-size": o.rawSize, "raw-crowd": o.rawCrowd,
	} {
		if n <= 0 {
			return nil, stabilize.Invalid("-"+name, "%d is not positive", n)
		}
	}
	for name, n := range map[string]int{"workflows": o.workflows, "delayed": o.delayed, "warmup": o.warmup} {
		if n < 0 {
			return nil, stabilize.Invalid("-"+name, "%d is negative", n)
		}
	}
	if o.rawSize > rawGroup {
		return nil, stabilize.Invalid("-raw-size", "%d is more than %d", o.rawSize, rawGroup)
	}
	if o.long <= o.messages {
		return nil, stabilize.Invalid("-long", "%d stages are not more than the %d messages to run", o.long, o.messages)
	}
	if err := o.chooseWorkers(workers); err != nil {
		return nil, err
	}
	return o, o.choose(scenario)
}

// mostWorkers is more than any machine is good for.
const mostWorkers = 1000

func (o *options) chooseWorkers(list string) error {
	if list == "" { // there is no such flag
		list = "0"
	}
	for text := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || n < 0 || n > mostWorkers {
			return stabilize.Invalid("-workers", "%q is no number from 0 to %d", text, mostWorkers)
		}
		if slices.Contains(o.workers, n) {
			return stabilize.Invalid("-workers", "%d is named twice", n)
		}
		o.workers = append(o.workers, n)
	}
	return nil
}

// turn is one scenario with so many worker processes.
type turn struct {
	scenario string
	workers  int
}

// String says what is measured.
func (t turn) String() string {
	switch t.workers {
	case 0:
		return t.scenario
	case 1:
		return t.scenario + ", 1 worker"
	}
	return fmt.Sprintf("%s, %d workers", t.scenario, t.workers)
}

// turns are all that is measured, in the order of a run. B6 is of one process.
func (o *options) turns() []turn {
	var list []turn
	for _, name := range o.scenarios {
		if name == "B6" {
			list = append(list, turn{scenario: name})
			continue
		}
		for _, n := range o.workers {
			list = append(list, turn{name, n})
		}
	}
	return list
}

func (o *options) choose(list string) error {
	if list == "all" {
		o.scenarios = scenarioNames()
		return nil
	}
	for name := range strings.SplitSeq(list, ",") {
		name = strings.ToUpper(strings.TrimSpace(name))
		if !slices.Contains(scenarioNames(), name) {
			return stabilize.Invalid("-scenario", "%q is none of %s, all", name, strings.Join(scenarioNames(), ", "))
		}
		if slices.Contains(o.scenarios, name) {
			return stabilize.Invalid("-scenario", "%s is named twice", name)
		}
		o.scenarios = append(o.scenarios, name)
	}
	return nil
}
