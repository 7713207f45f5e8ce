package queue_test

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// The kinds are stored: changing one loses the messages of running workflows.
func TestKindsAreStable(t *testing.T) {
	want := []string{
		"AbortStage", "AcquireLock", "AddMultiInstance", "CancelRegion", "CancelStage", "CancelWorkflow", "ChildEnded",
		"CloseMultiInstance", "CompleteStage", "CompleteTask", "CompleteWorkflow", "ContinueParentStage", "CreateWorkflow",
		"DeadLettered", "InvalidStageId", "InvalidTaskId", "InvalidTaskType", "InvalidWorkflowId", "JumpToStage", "LockGranted",
		"PauseStage", "PauseTask", "PauseWorkflow", "ReleaseLock", "ReportEnd", "RescheduleWorkflow", "RestartStage", "ResumeStage",
		"ResumeTask", "ResumeWorkflow", "RetryWorkflow", "RunTask", "SignalStage", "SkipStage", "StartStage", "StartTask",
		"StartWaitingWorkflows", "StartWorkflow", "TimeoutStage", "TimeoutWorkflow",
	}
	if got := queue.NewRegistry().Kinds(); !reflect.DeepEqual(got, want) {
		t.Errorf("the kinds are %v", got)
	}
}

type custom struct {
	queue.OfWorkflow
	When  time.Time        `json:"when"`
	Extra stabilize.Values `json:"extra"`
}

func (custom) Kind() string { return "Custom" }

func TestMessagesOfTheCallersOwn(t *testing.T) {
	r := queue.NewRegistry()
	if err := queue.Register[custom](r); err != nil {
		t.Fatal(err)
	}
	if err := queue.Register[custom](r); !errors.Is(err, stabilize.ErrExists) {
		t.Errorf("registering twice: %v", err)
	}
	var extra stabilize.Values
	if err := extra.Set("big", int64(1)<<60); err != nil {
		t.Fatal(err)
	}
	m := custom{queue.ToWorkflow("w"), time.Unix(1, 1000).UTC(), extra}
	body, err := queue.Encode(m)
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.Decode("id", m.Kind(), body)
	if err != nil || !reflect.DeepEqual(got, m) {
		t.Errorf("%+v came back as %+v, %v", m, got, err)
	}
	if queue.WorkflowOf(got) != "w" || queue.LaneOf(got) != queue.Control || queue.LaneOf(queue.RunTask{}) != queue.Work {
		t.Error("address or lane are wrong")
	}
	for _, c := range [][2]string{{"Unheard", "{}"}, {"Custom", "{"}, {"RunTask", `{"phase":"DANCE"}`}} {
		if _, err := r.Decode("id", c[0], []byte(c[1])); !errors.Is(err, stabilize.ErrCorrupt) {
			t.Errorf("%v: %v, want ErrCorrupt", c, err)
		}
	}
}
