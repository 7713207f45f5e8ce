package events

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// plain is an Event without its methods.
type plain Event

// MarshalJSON implements json.Marshaler.
func (e Event) MarshalJSON() ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false) // text is kept byte for byte
	if err := enc.Encode(plain(e)); err != nil {
		return nil, err
	}
	text := bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
	if len(e.Unknown) == 0 {
		return text, nil
	}
	text = bytes.TrimSuffix(text, []byte("}"))
	for _, name := range slices.Sorted(maps.Keys(e.Unknown)) {
		key, err := json.Marshal(name)
		if err != nil {
			return nil, err
		}
		text = append(text, ',')
		text = append(text, key...)
		text = append(text, ':')
		text = append(text, e.Unknown[name]...)
	}
	return append(text, '}'), nil
}

// UnmarshalJSON implements json.Unmarshaler. A field that is not known is an error,
// unless the event is of a later schema: then it is kept in Unknown.
func (e *Event) UnmarshalJSON(text []byte) error {
	var p plain
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	err := dec.Decode(&p)
	if err == nil {
		*e = Event(p)
		return nil
	}
	var version struct {
		Schema int `json:"schema"`
	}
	if json.Unmarshal(text, &version) != nil || version.Schema <= SchemaVersion {
		return err
	}
	p = plain{}
	if err := json.Unmarshal(text, &p); err != nil {
		return err
	}
	if err := json.Unmarshal(text, &p.Unknown); err != nil {
		return err
	}
	for _, name := range fieldNames() {
		delete(p.Unknown, name)
	}
	*e = Event(p)
	return nil
}

// fieldNames are the names of the known fields.
func fieldNames() []string {
	var names []string
	t := reflect.TypeFor[plain]()
	for i := range t.NumField() {
		if name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ","); name != "-" {
			names = append(names, name)
		}
	}
	return names
}

// Clone returns a copy that shares nothing with e.
func (e *Event) Clone() Event {
	c := *e
	if e.Failure != nil {
		f := *e.Failure
		c.Failure = &f
	}
	if e.Unknown != nil {
		c.Unknown = make(map[string]json.RawMessage, len(e.Unknown))
		for name, raw := range e.Unknown {
			c.Unknown[name] = slices.Clone(raw)
		}
	}
	return c
}

// Check returns ErrInvalid for an event that cannot be stored: without schema, id, type
// or time, with text that is not UTF-8, or with unknown fields that its schema cannot
// have.
func (e *Event) Check() error {
	switch {
	case e.Schema < 1:
		return stabilize.Invalid("event schema", "%d is not one; see Stamp", e.Schema)
	case e.At.IsZero():
		return stabilize.Invalid("event time", "is missing")
	case e.Round < 0:
		return stabilize.Invalid("event round", "%d is negative", e.Round)
	case !e.From.Valid() || !e.To.Valid():
		return stabilize.Invalid("event status", "%s or %s is not one", e.From, e.To)
	case len(e.Unknown) > 0 && e.Schema <= SchemaVersion:
		return stabilize.Invalid("event unknown fields", "are not of schema %d", e.Schema)
	}
	if err := stabilize.CheckID("event type", string(e.Type)); err != nil {
		return err
	}
	if err := stabilize.CheckID("event workflow id", e.WorkflowID); err != nil {
		return err
	}
	texts := []string{e.ID, e.StageID, e.StageRef, e.TaskID, e.TaskName, e.Reason, e.Causation, e.By}
	if f := e.Failure; f != nil {
		texts = append(texts, f.Code, f.Message, f.Stage, f.Task)
	}
	for _, text := range texts {
		if err := stabilize.CheckText("event text", text); err != nil {
			return err
		}
	}
	return e.checkUnknown()
}

func (e *Event) checkUnknown() error {
	known := fieldNames
	for name, raw := range e.Unknown {
		switch {
		case stabilize.CheckText("name", name) != nil || !json.Valid(raw):
			return stabilize.Invalid("event unknown field", "%q is not JSON", name)
		case slices.Contains(known(), name):
			return stabilize.Invalid("event unknown field", "%q is known", name)
		}
	}
	return nil
}

// EncodeList writes events as one JSON list.
func EncodeList(evs []Event) ([]byte, error) {
	var buf bytes.Buffer
	buf.WriteByte('[')
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	for i := range evs {
		if i > 0 {
			buf.WriteByte(',')
		}
		var err error
		if len(evs[i].Unknown) == 0 {
			err = enc.Encode((*plain)(&evs[i]))
		} else {
			err = enc.Encode(&evs[i])
		}
		if err != nil {
			return nil, stabilize.Invalid("event", "%d cannot be stored: %v", i, err)
		}
		buf.Truncate(buf.Len() - 1) // the line break
	}
	buf.WriteByte(']')
	return buf.Bytes(), nil
}

// DecodeList reads what EncodeList wrote.
func DecodeList(body []byte) ([]Event, error) {
	var evs []Event
	if err := json.Unmarshal(body, &evs); err != nil {
		return nil, err
	}
	return evs, nil
}
