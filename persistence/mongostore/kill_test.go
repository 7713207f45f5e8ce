//go:build unix

package mongostore_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/mongostore"
	"github.com/stabilize-dev/go-stabilize/persistence/mongostore/mongotest/commonground"
	"github.com/stabilize-dev/go-stabilize/persistence/mongostore/mongotest/mongoproxy"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// skewed is the machine's clock, and wrong by so much.
type skewed time.Duration

func (c skewed) Now() time.Time { return stabilize.SystemClock{}.Now().Add(time.Duration(c)) }

func (skewed) Timer(d time.Duration) (<-chan time.Time, func()) {
	return stabilize.SystemClock{}.Timer(d)
}

// moment is a command of a commit or a claim, before or after it was executed.
type moment struct {
	mongoproxy.Call

	collection string
}

// path looks into the command. Statements of one command are of one kind.
func (m moment) path(path ...string) string {
	text, _ := m.Body.Lookup(path...).StringValueOK()
	return text
}

// texts lists what the elements of an array have at a path.
func (m moment) texts(array []string, path ...string) (out []string) {
	list, ok := m.Body.Lookup(array...).ArrayOK()
	if !ok {
		return nil
	}
	values, _ := list.Values()
	for _, v := range values {
		if len(path) > 0 {
			doc, _ := v.DocumentOK()
			v = doc.Lookup(path...)
		}
		if text, ok := v.StringValueOK(); ok {
			out = append(out, text)
		}
	}
	return out
}

func (m moment) is(name, collection string) bool { return m.Name == name && m.collection == collection }

// has reports whether the first update sets a field.
func (m moment) has(field string) bool {
	_, err := m.Body.LookupErr("updates", "0", "u", "$set", field)
	return err == nil
}

func (m moment) claims() bool {
	return m.is("update", "messages") && m.path("updates", "0", "u", "$set", "q") == "leased"
}
func (m moment) births() bool {
	return m.is("insert", "messages") && m.path("documents", "0", "q") == "unborn"
}
func (m moment) marksMessage() bool { return m.is("update", "messages") && m.has("exp") }
func (m moment) admits() bool {
	return m.is("insert", "admissions") || m.is("update", "admissions") && m.has("exp")
}
func (m moment) pays() bool    { return m.is("insert", "payloads") }
func (m moment) creates() bool { return m.is("insert", "workflows") }
func (m moment) decides() bool { return m.is("update", "workflows") && m.has("txs") }
func (m moment) bears() bool {
	return m.is("update", "messages") && m.path("updates", "0", "q", "q") == "unborn"
}
func (m moment) drops() bool {
	_, err := m.Body.LookupErr("deletes", "0", "q", "tx")
	return m.is("delete", "messages") && err == nil
}
func (m moment) leaves() bool {
	return m.is("delete", "admissions") || m.is("update", "admissions") && !m.has("exp")
}
func (m moment) unpays() bool { return m.is("delete", "payloads") }

// killPoint is between two commands of a process.
type killPoint struct {
	name   string
	begins bool // the process starts the workflows itself
	at     func(moment) bool
	after  bool // it was executed
	// hold keeps commands of the same commit that travel at the same time back.
	hold func(moment) bool
}

// killPoints are those of doc.go.
func killPoints() []killPoint {
	return []killPoint{
		{name: "between claim and commit", at: moment.claims, after: true},
		{name: "between the new messages and the update", at: moment.births, after: true},
		{name: "between the mark of the message and the update", at: moment.marksMessage, after: true},
		{name: "between admission and commit", at: moment.admits, after: true},
		{name: "between a payload and the update", at: moment.pays, after: true},
		{name: "between the marks and the update", at: moment.decides},
		{name: "between the update and the end of the marks", at: moment.decides, after: true},
		{name: "between copy and drop", at: moment.bears, after: true, hold: moment.drops},
		{name: "between drop and copy", at: moment.drops, after: true, hold: moment.bears},
		{name: "between the end of the messages and that of the admission", at: moment.leaves},
		{name: "between the end of the marks and what the update replaced", at: moment.unpays},
		{name: "between the messages and the creation", begins: true, at: moment.creates},
		{name: "between the creation and the end of the marks", begins: true, at: moment.creates, after: true},
	}
}

// killer kills a process when it comes to a point for the nth time, from 0. Nothing
// that it had on its way is executed then.
type killer struct {
	killPoint

	n    int
	kill func()
	dead chan struct{} // closed when it is

	mu     sync.Mutex
	seen   int
	births map[string]bool // commits, by token, that bring messages
	drops  map[string]bool // commits that take some away
	passed map[string]bool // commits that were at the point
}

func (k *killer) intercept(c mongoproxy.Call) mongoproxy.Fault {
	collection, _ := c.Body.Lookup(c.Name).StringValueOK()
	switch k.judge(moment{c, collection}) {
	case holding:
		<-k.dead
	case dying:
		k.kill()
	default:
		select {
		case <-k.dead:
		default:
			return mongoproxy.Fault{}
		}
	}
	return mongoproxy.Fault{Break: true}
}

const (
	holding = iota + 1
	dying
)

func (k *killer) judge(m moment) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	var txs []string
	switch {
	case m.births():
		for _, tx := range m.texts([]string{"documents"}, "tx") {
			k.births[tx] = true
		}
	case m.marksMessage():
		for _, tx := range m.texts([]string{"updates"}, "u", "$set", "tx") {
			k.drops[tx] = true
		}
	case m.bears():
		txs = m.texts([]string{"updates", "0", "q", "tx", "$in"})
	case m.drops():
		txs = m.texts([]string{"deletes", "0", "q", "tx", "$in"})
	}
	both, passed := false, false
	for _, tx := range txs {
		both, passed = both || k.births[tx] && k.drops[tx], passed || k.passed[tx]
	}
	if k.hold != nil && !both {
		return 0
	}
	if m.Executed() == k.after && k.at(m) {
		for _, tx := range txs {
			k.passed[tx] = true
		}
		if k.seen++; k.seen > k.n {
			return dying
		}
	}
	if k.hold != nil && k.seen == k.n && !passed && !m.Executed() && k.hold(m) {
		return holding
	}
	return 0
}

// site is a database with the handles of a test: one whose clock is right, and one
// for which all that the dead held has lapsed.
type site struct {
	db          *mongo.Database
	journal     journal
	sound, heir *engine.Engine
	watch       func(mongoproxy.Command)
	job         job
}

func newSite(t *testing.T) *site {
	server := servers.One()
	s := &site{journal: journal(filepath.Join(t.TempDir(), "journal"))}
	s.db = server.Client(t).Database(server.Database(t))
	s.watch = func(c mongoproxy.Command) {
		if err := commonground.Check(c); err != nil {
			t.Error(err)
		}
	}
	s.job = job{Database: s.db.Name(), Journal: string(s.journal), LeaseTTL: 30 * time.Second}
	open := func(clock stabilize.Clock) *engine.Engine {
		link := server.Link(t)
		link.Watch(s.watch)
		st, err := mongostore.Open(t.Context(), mongostore.Config{
			URI: link.URI(), Database: s.db.Name(), Migrate: true, Clock: clock, Inline: inline, Patience: 20 * time.Millisecond,
		})
		if err != nil {
			t.Fatal(err)
		}
		e, err := newCarrier(&introduced{Store: st, journal: s.journal}, s.job)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := e.Close(); err != nil {
				t.Error(err)
			}
			if err := st.Close(); err != nil {
				t.Error(err)
			}
		})
		return e
	}
	s.sound, s.heir = open(skewed(0)), open(skewed(time.Hour))
	return s
}

// clean checks that nothing is left but workflows that have ended and what is theirs.
func (s *site) clean(t *testing.T, also ...string) {
	t.Helper()
	marked := bson.D{{Key: "tx", Value: bson.D{{Key: "$gt", Value: ""}}}}
	for _, c := range []string{"messages", "workflows", "admissions"} {
		if n, err := s.db.Collection(c).CountDocuments(t.Context(), marked); err != nil || n > 0 {
			t.Errorf("%d documents of %s are still marked, %v", n, c, err)
		}
	}
	for _, c := range append(also, "messages", "admissions") {
		if n, err := s.db.Collection(c).CountDocuments(t.Context(), bson.D{}); err != nil || n > 0 {
			t.Errorf("%d documents are left in %s, %v", n, c, err)
		}
	}
}

// drain returns when nothing is left to do, if somebody does it.
func (s *site) drain(t *testing.T, e *engine.Engine) {
	t.Helper()
	for live := 1; live > 0; {
		depth, err := e.Store().Depth(t.Context())
		if err != nil || depth.Dead > 0 {
			t.Fatalf("all workflows have ended, and the queue holds %+v, %v", depth, err)
		}
		live = depth.Live()
	}
}

// round runs two chains under a limit of one until a process is killed, and has
// another go on. It returns whether the process was killed.
func (s *site) round(t *testing.T, name string, p killPoint, n int) (killed bool) {
	const length = 3
	chains := []chain{{name + " a", length, "one"}, {name + " b", length, "one"}}
	link := servers.One().Link(t)
	link.Watch(s.watch)
	j := s.job
	j.URI, j.Worker = link.URI(), 1
	if p.begins {
		j.Begins = chains
	} else {
		for _, c := range chains {
			if _, err := c.begin(t.Context(), s.sound); err != nil {
				t.Fatal(err)
			}
		}
	}
	child := j.start(t)
	k := &killer{killPoint: p, n: n, dead: make(chan struct{}), births: map[string]bool{}, drops: map[string]bool{}, passed: map[string]bool{}}
	k.kill = sync.OnceFunc(func() { child.kill(); close(k.dead) })
	link.Intercept(k.intercept)
	child.begin(t)

	// Either it dies, or all there is to do is done.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var ended sync.WaitGroup
	ended.Go(func() {
		for _, c := range chains {
			if p.begins {
				break
			}
			id, err := c.begin(ctx, s.sound)
			if err == nil {
				_, err = s.sound.Wait(ctx, id)
			}
			if err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		}
		if !p.begins {
			cancel()
		}
	})
	select {
	case <-k.dead:
		killed = true
		cancel()
	case <-ctx.Done():
		k.kill()
	}
	ended.Wait()
	link.Intercept(nil)

	on, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := s.heir.Run(on); err != nil {
			t.Error(err)
		}
	})
	patient, give := context.WithTimeout(t.Context(), 3*time.Minute)
	defer give()
	var ids []string
	var all []*stabilize.Workflow
	for _, c := range chains {
		id, err := c.begin(t.Context(), s.heir) // it is there, unless it died creating it
		if err != nil {
			t.Fatal(err)
		}
		w, err := s.heir.Wait(patient, id)
		if err != nil {
			stop()
			t.Fatalf("workflow %s does not end: %v", c.Name, err)
		}
		ids, all = append(ids, id), append(all, w)
	}
	s.drain(t, s.heir)
	stop()
	running.Wait()
	checkRound(t, all, length, s.journal.read(t))
	s.clean(t, "steps")
	if err := s.heir.Store().Delete(t.Context(), ids...); err != nil {
		t.Error(err)
	}
	if p.begins {
		s.clean(t, "workflows") // the payloads of a creation that was not done stay
	} else {
		s.clean(t, "workflows", "payloads")
	}
	return killed
}

// checkRound checks what two chains have done, of which one may run at a time, and one
// process was killed meanwhile.
func checkRound(t *testing.T, all []*stabilize.Workflow, length int, noted []entry) {
	t.Helper()
	of := map[string]string{} // workflow by task
	for _, w := range all {
		if err := checkChain(w, length, noted); err != nil {
			t.Error(err)
		}
		for _, st := range w.Stages {
			of[st.Tasks[0].ID] = w.ID
		}
	}
	// The version counts the commits: one to create, one for each step. Who had to wait
	// has more.
	if v := min(all[0].Version, all[1].Version); v != int64(length)+1 {
		t.Errorf("%d commits for %d steps", v, length)
	}
	runs, changes, last := 0, 0, ""
	for _, e := range noted {
		if w := of[e.Task]; e.What == ran && w != "" {
			runs++
			if w != last {
				changes, last = changes+1, w
			}
		}
	}
	if changes != 2 {
		t.Errorf("one may run at a time, and they took turns %d times", changes)
	}
	if again := runs - 2*length; again > 1 { // one was running when it died
		t.Errorf("tasks ran %d times again", again)
	}
}

// A process that is killed at any crash point leaves what another one goes on from: each
// task's result is committed once, no message is lost or doubled, the place under the
// limit is given on, and nothing stays marked.
func TestKilledAtCrashPoints(t *testing.T) {
	s := newSite(t)
	for i, p := range killPoints() {
		t.Run(p.name, func(t *testing.T) {
			for n, killed := 0, true; killed; n++ {
				killed = s.round(t, fmt.Sprint(i, " ", n), p, n)
				if n == 0 && !killed {
					t.Error("it did not come there")
				}
				created := p.begins && n == 1 // both
				if os.Getenv("STABILIZE_TEST_FULL") == "" || t.Failed() || created {
					break
				}
			}
		})
	}
}

// What a dead worker had under way is somebody else's when its lease has lapsed, and
// not later.
func TestDeadWorkersCommit(t *testing.T) {
	for _, executed := range []bool{false, true} {
		h := newHarness(t, servers.One())
		c := h.scene(t, "w")
		ctx, cancel := context.WithCancel(t.Context())
		h.links[0].Intercept(func(call mongoproxy.Call) mongoproxy.Fault { // the process dies
			collection, _ := call.Body.Lookup(call.Name).StringValueOK()
			if call.Executed() == executed && (moment{call, collection}).decides() {
				cancel()
			}
			return mongoproxy.Fault{Break: ctx.Err() != nil}
		})
		if err := h.first.CommitBatch(ctx, []*persistence.Commit{c})[0]; err == nil {
			t.Error("the commit was answered")
		}
		cancel()
		want := map[bool]int{false: 1, true: 2}[executed]
		for _, wait := range []time.Duration{30 * time.Second, 31 * time.Second} { // it lasts a minute
			h.clock.Advance(wait)
			got, err := h.second.Claim(t.Context(), queue.Worker{ID: "heir", TTL: time.Hour}, queue.Room{Control: 10, Work: 10})
			h.must(t, err)
			if executed { // the new ones are nobody's
				if want -= len(got); want != 0 {
					t.Errorf("the heir was given %d messages", len(got))
				}
			} else if n := len(got); n != want && wait > 30*time.Second || n != 0 && wait == 30*time.Second {
				t.Errorf("after %s the heir was given %d messages", wait, n)
			}
		}
		h.links[0].Intercept(nil)
	}
}
