package mongostore

import (
	"encoding/base64"
	"encoding/json"
	"time"

	"github.com/stabilize-dev/go-stabilize/queue"
)

// mark says that a commit has a document under way: what becomes of it is decided
// by one other document, the commit's primary. See doc.go.
type mark struct {
	Tx  string `bson:"tx"`  // the commit's token; "": none
	Of  string `bson:"of"`  // which collection the primary is in
	At  string `bson:"at"`  // the primary's _id
	Exp string `bson:"exp"` // the rev of the primary that the commit was decided on
}

// Collections that primaries are in.
const (
	ofWorkflows = "w"
	ofMessages  = "m"
	ofSteps     = "s"
)

// primary is what decides: a commit is done when its token is in Txs.
type primary struct {
	ID  string   `bson:"_id"`
	Rev string   `bson:"rev"` // of the last write; compare-and-set goes by it
	Txs []string `bson:"txs"` // tokens of the last commits, newest first
}

// workflow is the document of a workflow.
type workflow struct {
	ID      string           `bson:"_id"`
	Rev     string           `bson:"rev"`
	Txs     []string         `bson:"txs"`
	Version int64            `bson:"version"` // 0: about to be created
	Inc     string           `bson:"inc"`     // token of the commit that created it
	Removed int64            `bson:"removed"` // version of the last commit that removed a stage
	Created int64            `bson:"created"` // microseconds since 1970, as all times
	App     string           `bson:"app"`
	Config  string           `bson:"config"`
	Status  string           `bson:"status"`
	Start   int64            `bson:"start"` // persistence.Place.Start
	Header  part             `bson:"header"`
	Stages  map[string]stage `bson:"stages"`
	Keys    []string         `bson:"keys"` // admission keys it may have a place or a turn under
	Mark    mark             `bson:",inline"`
}

// part is a body: exact JSON text, here or in a document of payloads.
type part struct {
	Body    string `bson:"b"`
	Payload string `bson:"x,omitempty"` // _id in payloads; "": Body is it
	Size    int64  `bson:"z"`
}

type stage struct {
	Version  int64  `bson:"v"`
	Ref      string `bson:"r"`
	Round    int64  `bson:"n"`
	Position int64  `bson:"p"`
	Part     part   `bson:",inline"`
}

// payload is a body that is too large for its workflow's document.
type payload struct {
	ID       string `bson:"_id"`
	Workflow string `bson:"wf"`
	Inc      string `bson:"inc"` // which workflow of that id: see workflow.Inc
	Tx       string `bson:"tx"`  // the commit that brought it
	Exp      string `bson:"exp"` // the rev of the workflow that the commit was decided on
	Body     string `bson:"b"`
}

// message is a message as it is stored, dead letters included.
type message struct {
	ID        string   `bson:"_id"`
	Rev       string   `bson:"rev"`
	Q         string   `bson:"q"`    // where it is found: one of the queues below
	Born      string   `bson:"born"` // of an unborn one: Q when its commit is done
	Back      string   `bson:"back"` // of a leased one: Q when the lease ends
	Due       int64    `bson:"due"`
	Seq       int64    `bson:"seq"` // order of storing; of a dead letter, of dying
	Created   int64    `bson:"created"`
	Workflow  string   `bson:"wf"`
	Kind      string   `bson:"kind"`
	Lane      int32    `bson:"lane"`
	Attempts  int64    `bson:"attempts"`
	Max       int64    `bson:"max"`
	LastError string   `bson:"error"` // as JSON text: it may hold anything
	Worker    string   `bson:"worker"`
	Fence     int64    `bson:"fence"` // of the worker's lease under which it is held
	Token     string   `bson:"token"` // outlives the lease until somebody else gets it
	Body      string   `bson:"body"`
	Died      int64    `bson:"died"`
	Reason    string   `bson:"reason"`
	Txs       []string `bson:"txs"` // it is the primary of the notice of its death
	Mark      mark     `bson:",inline"`
	Next      *message `bson:"next,omitempty"` // takes its place when the commit that removes it is done
}

// Queues of messages.
const (
	qControl = "control" // may be claimed
	qWork    = "work"
	qSpent   = "spent" // nobody holds it, and it has no attempts left
	qLeased  = "leased"
	qDead    = "dead"
	qUnborn  = "unborn" // its commit is not known to be done
)

// free are those of messages that nobody holds.
func free() []string { return []string{qControl, qWork, qSpent} }

// rest is the queue of a message that nobody holds.
func rest(lane int32, attempts, max int64) string {
	switch {
	case attempts >= max:
		return qSpent
	case queue.Lane(lane) == queue.Work:
		return qWork
	}
	return qControl
}

// seat is a place or a turn under an admission key.
type seat struct {
	Workflow string `bson:"wf"`
	Inc      string `bson:"inc"`
	Limit    int64  `bson:"limit"`
}

// admission is the document of a key.
type admission struct {
	Key     string `bson:"_id"`
	Rev     string `bson:"rev"`
	Holding []seat `bson:"holding"`
	Waiting []seat `bson:"waiting"`
	Mark    mark   `bson:",inline"`
	Next    *seats `bson:"next,omitempty"`
}

type seats struct {
	Holding []seat `bson:"holding"`
	Waiting []seat `bson:"waiting"`
}

// worker is a worker's lease on all it holds.
type worker struct {
	ID      string `bson:"_id"`
	Fence   int64  `bson:"fence"`
	Expires int64  `bson:"expires"`
}

func micros(t time.Time) int64 { return t.UnixMicro() }

func instant(us int64) time.Time { return time.UnixMicro(us).UTC() }

// field is the name under which a stage is kept: ids hold dots and dollars.
func field(stageID string) string { return base64.RawURLEncoding.EncodeToString([]byte(stageID)) }

func stageID(field string) string {
	id, err := base64.RawURLEncoding.DecodeString(field)
	if err != nil {
		return field // not of this program: the body will tell
	}
	return string(id)
}

func quote(text string) string {
	if text == "" {
		return ""
	}
	raw, err := json.Marshal(text)
	if err != nil {
		panic(err) // unreachable: a string
	}
	return string(raw)
}

func unquote(raw string) string {
	var text string
	if raw == "" || json.Unmarshal([]byte(raw), &text) != nil {
		return raw
	}
	return text
}
