package mongoproxy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
)

func TestReadMessage(t *testing.T) {
	whole := msg(7, 0, named("ping"))
	stream := bytes.NewReader(append(bytes.Clone(whole), whole...))
	for range 2 {
		if m, err := readMessage(stream); err != nil || !bytes.Equal(m, whole) {
			t.Errorf("read %x, %v", m, err)
		}
	}
	if _, err := readMessage(stream); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
	for n := 1; n < len(whole); n++ {
		if _, err := readMessage(bytes.NewReader(whole[:n])); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("after %d bytes: %v", n, err)
		}
	}
	for _, n := range []uint32{0, 15, maxMessageLength + 1, 1<<32 - 1} {
		if _, err := readMessage(bytes.NewReader(binary.LittleEndian.AppendUint32(nil, n))); !errors.Is(err, errFraming) {
			t.Errorf("a length of %d: %v", n, err)
		}
	}
}

// sequence makes a document sequence, a section of an OP_MSG.
func sequence(name string, docs ...bson.D) []byte {
	b := append([]byte{sectionSequence, 0, 0, 0, 0}, name...)
	b = append(b, 0)
	for _, doc := range docs {
		b = append(b, marshal(doc)...)
	}
	binary.LittleEndian.PutUint32(b[1:], uint32(len(b)-1))
	return b
}

func TestCommand(t *testing.T) {
	for name, c := range map[string]struct {
		m                    message
		command, database    string
		sequences, documents int
	}{
		"body":          {msg(1, 0, named("find")), "find", "db", 0, 0},
		"checksum":      {msg(1, flagChecksum, named("find")), "find", "db", 0, 0},
		"sequence":      {msg(1, 0, named("insert"), sequence("documents", bson.D{{Key: "_id", Value: 1}}, bson.D{})...), "insert", "db", 1, 2},
		"two sequences": {msg(1, 0, named("x"), append(sequence("a", bson.D{}), sequence("b", bson.D{}, bson.D{})...)...), "x", "db", 2, 3},
		"query":         {query(1, "admin.$cmd", bson.D{{Key: "isMaster", Value: 1}}), "isMaster", "admin", 0, 0},
		"wrapped query": {query(1, "db.$cmd", bson.D{{Key: "$query", Value: bson.D{{Key: "count", Value: "c"}}}, {Key: "$readPreference", Value: 1}}), "count", "db", 0, 0},
	} {
		got, err := c.m.command()
		if err != nil || got.Name != c.command || got.Database != c.database {
			t.Errorf("%s: %+v, %v", name, got, err)
			continue
		}
		if err := got.Body.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		sequences, documents := 0, 0
		elements, _ := got.Body.Elements()
		for _, e := range elements {
			if array, ok := e.Value().ArrayOK(); ok {
				values, _ := array.Values()
				sequences, documents = sequences+1, documents+len(values)
			}
		}
		if sequences != c.sequences || documents != c.documents {
			t.Errorf("%s: %d sequences of %d documents in %v", name, sequences, documents, got.Body)
		}
	}
}

// cut makes the message shorter by so many bytes, and says so.
func cut(m message, n int) message { return closeDocument(bytes.Clone(m[:len(m)-n]), 0) }

func with(m message, at int, b byte) message {
	m = bytes.Clone(m)
	m[at] = b
	return m
}

func TestCommandRefuses(t *testing.T) {
	body := msg(1, 0, named("find"))
	insert := msg(1, 0, named("insert"), sequence("documents", bson.D{})...)
	for name, m := range map[string]message{
		"no flags":             cut(body, len(body)-headerLength),
		"no section":           cut(body, len(body)-flagsEnd),
		"half a document":      cut(body, 5),
		"unknown section":      with(body, flagsEnd, 9),
		"two bodies":           closeDocument(append(bytes.Clone(body), body[flagsEnd:]...), 0),
		"only a sequence":      cut(insert, len(marshal(named("insert")))+1),
		"sequence too long":    with(insert, flagsEnd+4, 1),
		"sequence too short":   with(insert, flagsEnd+1, 3),
		"name without end":     with(insert, flagsEnd+1, 8),
		"no room for checksum": with(cut(body, len(body)-flagsEnd-2), headerLength, flagChecksum),
		"compressed":           with(with(body, 12, 0xdc), 13, 0x07),
		"empty command":        msg(1, 0, bson.D{}),
		"query without name":   cut(query(1, "", bson.D{}), 14),
		"query without query":  cut(query(1, "db.$cmd", bson.D{}), 5),
		"query without flags":  cut(query(1, "", bson.D{}), 17),
	} {
		if c, err := m.command(); !errors.Is(err, errFraming) {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
}

func TestExpectOneReply(t *testing.T) {
	for _, flags := range []uint32{0, flagMoreToCome, flagExhaustAllowed, flagMoreToCome | flagExhaustAllowed | flagChecksum} {
		m := msg(1, flags, named("insert")).expectOneReply()
		if !bytes.Equal(m, msg(1, 0, named("insert"))) {
			t.Errorf("of flags %x became %x", flags, m)
		}
	}
	if m := msg(1, flagChecksum, named("insert")); !bytes.Equal(m.expectOneReply(), msg(1, flagChecksum, named("insert"))) {
		t.Error("a message that expects one reply was changed")
	}
}

// An OP_QUERY is answered by an OP_REPLY of one document, others by an OP_MSG.
func TestAnswer(t *testing.T) {
	for request, op := range map[*message]uint32{new(query(7, "db.$cmd", named("x"))): opReply, new(msg(7, 0, named("x"))): opMsg} {
		m := answer(*request, ok())
		read, err := readMessage(bytes.NewReader(m))
		if err != nil || read.op() != op || binary.LittleEndian.Uint32(read[8:]) != 7 {
			t.Errorf("operation %d instead of %d, %v", read.op(), op, err)
		}
		if doc, _, err := m.body(); err != nil || !bytes.Equal(doc, ok()) {
			t.Errorf("the answer holds %v, %v", doc, err)
		}
	}
}

// Whatever comes, it is a command or an error.
func FuzzCommand(f *testing.F) {
	f.Add([]byte(msg(1, flagChecksum, named("insert"), sequence("documents", bson.D{})...)))
	f.Add([]byte(query(1, "db.$cmd", named("isMaster"))))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := readMessage(bytes.NewReader(b))
		if err != nil {
			return
		}
		c, err := m.command()
		if err != nil {
			return
		}
		if err := c.Body.Validate(); err != nil || c.Name == "" && len(c.Body) == 5 {
			t.Errorf("%+v, %v", c, err)
		}
		_ = m.expectOneReply()
	})
}
