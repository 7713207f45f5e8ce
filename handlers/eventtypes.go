package handlers

import (
	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// eventTypes are the events of one kind of entity.
type eventTypes struct {
	buffered, started, suspended, paused, resumed, completed events.Type
}

func workflowEvents() eventTypes {
	return eventTypes{
		buffered: events.WorkflowBuffered, started: events.WorkflowStarted,
		paused: events.WorkflowPaused, resumed: events.WorkflowResumed, completed: events.WorkflowCompleted,
	}
}

func stageEvents() eventTypes {
	return eventTypes{
		started: events.StageStarted, suspended: events.StageSuspended,
		paused: events.StagePaused, resumed: events.StageResumed, completed: events.StageCompleted,
	}
}

func taskEvents() eventTypes {
	return eventTypes{
		started: events.TaskStarted, suspended: events.TaskSuspended,
		paused: events.TaskPaused, resumed: events.TaskResumed, completed: events.TaskCompleted,
	}
}

// of returns the event of a change of status, "" if it is none.
func (t eventTypes) of(from, to stabilize.Status) events.Type {
	switch {
	case to.IsComplete():
		return t.completed
	case to == stabilize.Buffered:
		return t.buffered
	case to == stabilize.Suspended:
		return t.suspended
	case to == stabilize.Paused:
		return t.paused
	case to != stabilize.Running:
		return ""
	case from.IsActive():
		return t.resumed
	default:
		return t.started
	}
}
