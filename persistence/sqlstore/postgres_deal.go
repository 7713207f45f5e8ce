package sqlstore

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"io"
	"slices"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// A workflow that starts while a worker of any process is ready is dealt to it: its message
// is stored leased to that worker, and is in the notification, with the workflow. So
// nobody has to claim it, or load anything. Why that is safe is in decision 0026; how the
// worker's process hears of it is in postgres_hands.go.

// mostTold is how many bytes a notification holds before they are made text, less the name
// of the worker. The server's limit is 8,000 bytes of text.
const mostTold = (7999 - stabilize.MaxIDLength - 1) / 4 * 3

// dealtMessage is a message as a notification tells it, by names: programs of several
// versions tell each other, and leave out what they do not know.
type dealtMessage struct {
	ID       string       `msgpack:"id"`
	Token    string       `msgpack:"token"`
	Kind     string       `msgpack:"kind"`
	Lane     queue.Lane   `msgpack:"lane"`
	Due      int64        `msgpack:"due"`
	Created  int64        `msgpack:"created"`
	Most     int64        `msgpack:"most"`
	Body     []byte       `msgpack:"body"`
	Workflow string       `msgpack:"of"`
	Status   string       `msgpack:"status"`
	Header   []byte       `msgpack:"header"`
	Stages   []dealtStage `msgpack:"stages"`
}

type dealtStage struct {
	ID   string `msgpack:"id"`
	Body []byte `msgpack:"body"`
}

// mostDealt is how many messages a batch adds at most if it deals any. Where many
// workflows start at once, a claim of many costs little, and all have to share them.
const mostDealt = 4

// deal returns, for the messages of w, the tokens of those that a worker may have at once,
// "" for the others, and what to tell it: those that are due, and the only one of a workflow
// that the same commit creates, so that none is older and no other worker may want the rest.
func (set *commitSet) deal(w *writes) (tokens []string, told string) {
	a, c := &w.add, &w.create
	if len(a.id) > mostDealt {
		return nil, ""
	}
	tokens = make([]string, len(a.id))
	prefix := rand.Text() + "."
	var batch []byte
	for i, n := range a.commit {
		if i > 0 && a.commit[i-1] == n || i+1 < len(a.id) && a.commit[i+1] == n {
			continue
		}
		j, ok := slices.BinarySearch(c.commit, n)
		if !ok || a.due[i] > set.now || a.workflow[i] != c.id[j] {
			continue
		}
		m := dealtMessage{
			ID: a.id[i], Token: prefix + a.id[i], Kind: a.kind[i], Lane: queue.Lane(a.lane[i]), Due: a.due[i], Created: set.now, Most: a.most[i], Body: a.body[i],
			Workflow: c.id[j], Status: c.status[j], Header: c.header[j],
		}
		size := len(m.Body) + len(m.Header)
		first, _ := slices.BinarySearch(w.begun.commit, n)
		for k := first; k < len(w.begun.commit) && w.begun.commit[k] == n && size <= mostTold; k++ {
			m.Stages = append(m.Stages, dealtStage{ID: w.begun.id[k], Body: w.begun.body[k]})
			size += len(w.begun.body[k])
		}
		if size > mostTold {
			continue
		}
		if data, err := msgpack.Marshal(&m); err == nil && len(batch)+len(data) <= mostTold {
			tokens[i], batch = m.Token, append(batch, data...)
		}
	}
	return tokens, base64.RawStdEncoding.EncodeToString(batch)
}

// dealt reads what was told.
func dealt(text string) (list []dealtMessage, err error) {
	data, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil {
		return nil, err
	}
	for d := msgpack.NewDecoder(bytes.NewReader(data)); ; {
		var m dealtMessage
		switch err := d.Decode(&m); {
		case errors.Is(err, io.EOF):
			return list, nil
		case err != nil:
			return nil, err
		}
		list = append(list, m)
	}
}
