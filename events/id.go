package events

import (
	"strconv"
	"strings"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// MakeID names the event of an index, from 0, in the commit that brought a workflow to
// a version. Nobody else makes that name: the version tells the commit, and the
// creation time one workflow of that id from another.
func MakeID(workflowID string, createdAt time.Time, version int64, index int) string {
	return workflowID + idMark + birth(createdAt) + idMark + strconv.FormatInt(version, 10) + idMark + strconv.Itoa(index)
}

// idMark parts an id from the right; a workflow's id may hold it.
const idMark = "/"

func birth(createdAt time.Time) string {
	if createdAt.IsZero() {
		return "0"
	}
	return strconv.FormatInt(stabilize.Instant(createdAt).UnixMicro(), 36)
}

// IDParts is what an id says of its event.
type IDParts struct {
	WorkflowID string
	Birth      string // of the workflow: its creation time, written
	Version    int64
	Index      int
}

// ParseID reads what MakeID has written. ErrInvalid for anything else.
func ParseID(id string) (IDParts, error) {
	var p IDParts
	rest, index, ok1 := cutLast(id)
	rest, version, ok2 := cutLast(rest)
	workflowID, birth, ok3 := cutLast(rest)
	p.WorkflowID, p.Birth = workflowID, birth
	var err1, err2 error
	p.Version, err1 = strconv.ParseInt(version, 10, 64)
	p.Index, err2 = strconv.Atoi(index)
	micros, err3 := strconv.ParseInt(birth, 36, 64)
	if !ok1 || !ok2 || !ok3 || err1 != nil || err2 != nil || err3 != nil || p.Version < 1 || p.Index < 0 ||
		p.String() != id || strconv.FormatInt(micros, 36) != birth || stabilize.CheckID("workflow id", workflowID) != nil {
		return IDParts{}, stabilize.Invalid("event id", "%q is not one", id)
	}
	return p, nil
}

// String is the id.
func (p IDParts) String() string {
	return p.WorkflowID + idMark + p.Birth + idMark + strconv.FormatInt(p.Version, 10) + idMark + strconv.Itoa(p.Index)
}

func cutLast(s string) (before, after string, found bool) {
	i := strings.LastIndex(s, idMark)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(idMark):], true
}

// Stamp makes the events of one commit ready for it: they get their schema, unless they
// have one, the workflow's id, the version that the commit brings it to, and their ids.
func Stamp(evs []Event, workflowID string, createdAt time.Time, version int64) {
	for i := range evs {
		e := &evs[i]
		if e.Schema == 0 {
			e.Schema = SchemaVersion
		}
		e.WorkflowID, e.Version, e.ID = workflowID, version, MakeID(workflowID, createdAt, version, i)
	}
}
