package persistence

import (
	"bytes"
	"encoding/json"
	"errors"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// EncodeHeader writes the stored form of a header: JSON without the version,
// which the store keeps beside it, its times as stabilize.Instant has them. The
// error is ErrInvalid.
func EncodeHeader(h *stabilize.Header) ([]byte, error) {
	if !tidy(h.Instants) {
		h = h.Clone()
		h.Instants(setInstant)
	}
	return encode("workflow", h)
}

// EncodeStage writes the stored form of a stage with its tasks: JSON without
// the version, its times as stabilize.Instant has them. The error is ErrInvalid.
func EncodeStage(s *stabilize.Stage) ([]byte, error) {
	if !tidy(s.Instants) {
		s = s.Clone()
		s.Instants(setInstant)
	}
	return encode("stage", s)
}

// tidy reports whether all times are in their stored form already.
func tidy(each func(func(*time.Time))) bool {
	ok := true
	each(func(t *time.Time) {
		ok = ok && t.Location() == time.UTC && t.Nanosecond()%int(stabilize.Precision) == 0
	})
	return ok
}

func setInstant(t *time.Time) { *t = stabilize.Instant(*t) }

// DecodeHeader reads a stored header. What cannot be understood is ErrCorrupt,
// naming the table workflows and the id.
func DecodeHeader(id string, version int64, body []byte) (*stabilize.Header, error) {
	var h stabilize.Header
	if err := decode(body, &h); err != nil {
		return nil, &stabilize.CorruptError{Table: "workflows", ID: id, Cause: err}
	}
	if h.ID != id {
		return nil, &stabilize.CorruptError{Table: "workflows", ID: id, Cause: errors.New("the body is of another workflow")}
	}
	h.Version = version
	return &h, nil
}

// DecodeStage reads a stored stage. What cannot be understood is ErrCorrupt,
// naming the table stages and the id.
func DecodeStage(id string, version int64, body []byte) (*stabilize.Stage, error) {
	var s stabilize.Stage
	if err := decode(body, &s); err != nil {
		return nil, &stabilize.CorruptError{Table: "stages", ID: id, Cause: err}
	}
	if s.ID != id {
		return nil, &stabilize.CorruptError{Table: "stages", ID: id, Cause: errors.New("the body is of another stage")}
	}
	s.Version = version
	return &s, nil
}

func encode(what string, x any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false) // values are kept byte for byte
	if err := enc.Encode(x); err != nil {
		return nil, stabilize.Invalid(what, "cannot be stored: %v", err)
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

func decode(body []byte, x any) error {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields() // a field of a newer program must not be lost on the next write
	return dec.Decode(x)
}
