package stabilize_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

func newIDs() *stabilize.IDs { return stabilize.NewIDs(stabilize.NewManualClock(noon()), entropy(1)) }

func TestBuild(t *testing.T) {
	spec := stabilize.NewWorkflow("shop", "order").
		Context("customer", "c-1").
		TriggeredBy(stabilize.Trigger{Type: "api", User: "me", Parameters: stabilize.Values{"p": []byte("1")}}).
		Origin("web").
		Config("cfg", "v7").
		LimitConcurrent("cfg2", 3).
		PurgeWaiting().
		StartBefore(noon().Add(time.Hour+300)).
		Add(
			stabilize.NewStage("pay").Do("charge", "receipt").With("amount", 12.5).Named("Payment").Timeout(time.Minute),
			stabilize.NewStage("ship").After("pay", "pick", "pay").Task(stabilize.TaskSpec{Name: "label", Type: "print"}).
				Joining(stabilize.JoinNOfM, 1).OnFailure(stabilize.StopBranch).StartBefore(noon()),
			stabilize.NewStage("pick").OfType("warehouse").Disabled().AllowSiblings(),
		)
	ids := newIDs()
	w, err := spec.Build(ids, noon().Add(1500).In(time.FixedZone("x", 3600)))
	if err != nil {
		t.Fatal(err)
	}
	h := w.Header
	if h.Application != "shop" || h.Name != "order" || h.Origin != "web" || h.ConfigID != "cfg2" || h.ConfigVersion != "v7" ||
		!h.LimitConcurrent || h.MaxConcurrent != 3 || h.KeepWaiting || h.Trigger.User != "me" || string(h.Context["customer"]) != `"c-1"` ||
		h.Status != stabilize.NotStarted || h.Version != 0 || h.CreatedAt != noon().Add(time.Microsecond) || h.StartExpiry != noon().Add(time.Hour) {
		t.Errorf("the header is %+v", h)
	}
	pay, ship, pick := w.Stages[0], w.Stages[1], w.Stages[2]
	if pay.Ref != "pay" || pay.Name != "Payment" || pay.Label() != "Payment" || pay.Timeout != time.Minute || string(pay.Context["amount"]) != "12.5" ||
		len(pay.Tasks) != 2 || pay.Tasks[1].Name != "receipt" || pay.Tasks[1].Type != "receipt" || pay.Tasks[1].Position != 1 {
		t.Errorf("the first stage is %+v", pay)
	}
	if !slices.Equal(ship.Requisites, []string{"pay", "pick"}) || ship.Join != stabilize.JoinNOfM || ship.Threshold != 1 || ship.Label() != "ship" ||
		ship.OnFailure != stabilize.StopBranch || ship.StartExpiry != noon() || ship.Tasks[0].Name != "label" || ship.Tasks[0].Type != "print" {
		t.Errorf("the second stage is %+v", ship)
	}
	if pick.Type != "warehouse" || !pick.Disabled || !pick.AllowSiblings || pick.Position != 2 {
		t.Errorf("the third stage is %+v", pick)
	}
	all := map[string]bool{w.ID: true}
	for _, s := range w.Stages {
		all[s.ID] = true
		for _, task := range s.Tasks {
			all[task.ID] = true
		}
	}
	if len(all) != 7 || all[""] {
		t.Errorf("ids are missing or used twice: %v", all)
	}
	if pay.TaskAfter(pay.Tasks[0]) != pay.Tasks[1] || pay.TaskAfter(pay.Tasks[1]) != nil || pay.Task(pay.Tasks[1].ID) != pay.Tasks[1] || pay.Task("x") != nil {
		t.Error("tasks are not found by id or by order")
	}

	// A spec is a description: what is built of it shares nothing with it.
	w.Context["customer"], pay.Context["amount"], pay.Tasks[0].Name, ship.Requisites[0] = nil, nil, "changed", "changed"
	again, err := spec.Build(ids, noon())
	if err != nil || again.ID == w.ID || again.Stages[0].ID == pay.ID || string(again.Context["customer"]) != `"c-1"` ||
		string(again.Stages[0].Context["amount"]) != "12.5" || again.Stages[0].Tasks[0].Name != "charge" || again.Stages[1].Requisites[0] != "pay" {
		t.Errorf("built again: %+v (%v)", again, err)
	}
}

func TestBuildReportsMistakes(t *testing.T) {
	ok := func() *stabilize.StageSpec { return stabilize.NewStage("a").Do("x") }
	for _, c := range []struct {
		name string
		spec *stabilize.WorkflowSpec
		want string
	}{
		{"a ref used twice", stabilize.NewWorkflow("", "").Add(ok(), ok()), `stage "a" ref: is used twice`},
		{"a requisite that names no stage", stabilize.NewWorkflow("", "").Add(ok().After("b")), `stage "a" requisites: no stage has the ref "b"`},
		{"a stage that waits for itself", stabilize.NewWorkflow("", "").Add(ok().After("a")), `stage "a" requisites: the stage requires itself`},
		{"a circle", stabilize.NewWorkflow("", "").Add(ok().After("b"), stabilize.NewStage("b").After("a")), "wait for each other: "},
		{"a threshold", stabilize.NewWorkflow("", "").Add(ok(), stabilize.NewStage("b").After("a").Joining(stabilize.JoinNOfM, 2)), `stage "b" threshold`},
		{"a value of the workflow", stabilize.NewWorkflow("", "").Context("bad", math.NaN()).Context("good", 1), `value "bad"`},
		{"a value of a stage", stabilize.NewWorkflow("", "").Add(ok().With("bad", make(chan int)).With("good", 1)), `stage "a" context`},
		{"a nil stage", stabilize.NewWorkflow("", "").Add(ok(), nil), "stage 1 is nil"},
		{"no ref", stabilize.NewWorkflow("", "").Add(stabilize.NewStage("")), "stage ref: is empty"},
		{"no task type", stabilize.NewWorkflow("", "").Add(ok().Do("")), `stage "a" tasks[1].type: is empty`},
		{"a negative timeout", stabilize.NewWorkflow("", "").Add(ok().Timeout(-1)), `stage "a" timeout`},
		{"text that is none", stabilize.NewWorkflow("\xff", ""), "application: is not valid UTF-8"},
		{"a limit of nothing", stabilize.NewWorkflow("", "").LimitConcurrent("", 1), "config id: is empty"},
	} {
		w, err := c.spec.Build(newIDs(), noon())
		if w != nil || !errors.Is(err, stabilize.ErrInvalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want ErrInvalid with %q", c.name, err, c.want)
		}
	}
	both := stabilize.NewStage("a").With("one", math.NaN()).With("two", math.Inf(1))
	if _, err := both.Build(newIDs()); err == nil || !strings.Contains(err.Error(), `"one"`) || !strings.Contains(err.Error(), `"two"`) {
		t.Errorf("two mistakes are reported as %v", err)
	}
}

func TestNewTasks(t *testing.T) {
	tasks := stabilize.NewTasks(newIDs(), []stabilize.TaskSpec{{Type: "a"}, {Name: "n", Type: "a"}})
	if len(tasks) != 2 || tasks[0].Name != "a" || tasks[1].Name != "n" || tasks[1].Position != 1 || tasks[0].ID == tasks[1].ID || tasks[0].ID == "" {
		t.Errorf("%+v %+v", tasks[0], tasks[1])
	}
}

type nothing struct{}

func (nothing) Tasks(*stabilize.Plan) ([]stabilize.TaskSpec, error) { return nil, nil }

func TestRegistry(t *testing.T) {
	r := stabilize.NewRegistry()
	task := stabilize.Func(func(context.Context, struct{}) (struct{}, error) { return struct{}{}, nil }, stabilize.WithTimeout(time.Second))
	for _, add := range []func(name string) error{
		func(name string) error { return r.AddTask(name, task) },
		func(name string) error { return r.AddStage(name, nothing{}) },
	} {
		if err := add("x"); err != nil {
			t.Fatal(err)
		}
		if err := add("x"); !errors.Is(err, stabilize.ErrExists) {
			t.Errorf("adding it again: %v", err)
		}
		if err := add(""); !errors.Is(err, stabilize.ErrInvalid) {
			t.Errorf("adding it without a name: %v", err)
		}
	}
	if err := errors.Join(r.AddTask("nil", nil), r.AddStage("nil", nil)); !errors.Is(err, stabilize.ErrInvalid) {
		t.Errorf("adding nil: %v", err)
	}
	if got, powers, err := r.Task("x"); got != task || powers.Timeout != time.Second || err != nil {
		t.Errorf("the task type is %v, %+v, %v", got, powers, err)
	}
	if _, _, err := r.Task("y"); !errors.Is(err, stabilize.ErrNotFound) {
		t.Errorf("an unknown task type: %v", err)
	}
	if got, err := r.Stage("x"); got == nil || err != nil {
		t.Errorf("the stage type is %v, %v", got, err)
	}
	if got, err := r.Stage(""); got != nil || err != nil {
		t.Errorf("the plain stage's type is %v, %v", got, err)
	}
	if _, err := r.Stage("y"); !errors.Is(err, stabilize.ErrNotFound) {
		t.Errorf("an unknown stage type: %v", err)
	}
	for want, spec := range map[string]*stabilize.StageSpec{
		"":                                      stabilize.NewStage("a").OfType("x").Do("x"),
		`stage "a" type: "y" is not registered`: stabilize.NewStage("a").OfType("y"),
		`stage "a" task n: task type "y" is not registered`: stabilize.NewStage("a").Do("x").Task(stabilize.TaskSpec{Name: "n", Type: "y"}),
	} {
		w, err := stabilize.NewWorkflow("", "").Add(spec).Build(newIDs(), noon())
		if err != nil {
			t.Fatal(err)
		}
		err = r.Check(w)
		if want == "" && err != nil || want != "" && (!errors.Is(err, stabilize.ErrInvalid) || !strings.Contains(err.Error(), want)) {
			t.Errorf("checking gives %v, want %q", err, want)
		}
	}
}

// A limit's key tells applications and configurations apart.
func TestConcurrencyKey(t *testing.T) {
	key := func(app, config string, limits bool) string {
		h := stabilize.Header{Application: app, ConfigID: config, LimitConcurrent: limits}
		return h.ConcurrencyKey()
	}
	if key("a", "c", false) != "" || key("a", "", true) != "" {
		t.Error("a workflow without a limit has a key")
	}
	seen := map[string]bool{}
	for _, app := range []string{"", "a", "A", "ab", "a "} {
		for _, config := range []string{"c", "C", "bc", "b", " c"} {
			k := key(app, config, true)
			if k == "" || seen[k] || stabilize.CheckID("key", k) != nil {
				t.Errorf("%q and %q have the key %q", app, config, k)
			}
			seen[k] = true
		}
	}
}
