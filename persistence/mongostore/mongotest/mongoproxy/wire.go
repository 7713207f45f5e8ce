package mongoproxy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// The wire protocol as its documentation has it. All numbers are little-endian.
const (
	opReply = 1
	opQuery = 2004
	opMsg   = 2013

	flagChecksum       = 1 << 0
	flagMoreToCome     = 1 << 1
	flagExhaustAllowed = 1 << 16

	sectionBody     = 0
	sectionSequence = 1

	headerLength   = 16
	flagsEnd       = headerLength + 4
	checksumLength = 4
	// What servers take: a document of 16 MB thrice, and its surroundings.
	maxMessageLength = 48_000_000 + 16<<10
)

var errFraming = errors.New("not a message of MongoDB's wire protocol")

// message is one message, its header included.
type message []byte

// readMessage reads one message. At the end of the stream it is io.EOF, within a
// message io.ErrUnexpectedEOF.
func readMessage(r io.Reader) (message, error) {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint32(length[:])
	if n < headerLength || n > maxMessageLength {
		return nil, fmt.Errorf("%w: a length of %d", errFraming, n)
	}
	m := make(message, n)
	copy(m, length[:])
	if _, err := io.ReadFull(r, m[4:]); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return m, nil
}

func (m message) id() uint32 { return binary.LittleEndian.Uint32(m[4:]) }
func (m message) op() uint32 { return binary.LittleEndian.Uint32(m[12:]) }

// flags of an OP_MSG; other messages have none.
func (m message) flags() uint32 {
	if m.op() != opMsg || len(m) < flagsEnd {
		return 0
	}
	return binary.LittleEndian.Uint32(m[headerLength:])
}

func (m message) moreToCome() bool { return m.flags()&flagMoreToCome != 0 }

// expectOneReply changes a request so that it gets exactly one reply: neither none
// (moreToCome) nor as many as the server likes (exhaustAllowed).
func (m message) expectOneReply() message {
	flags := m.flags()
	if flags&(flagMoreToCome|flagExhaustAllowed) == 0 {
		return m
	}
	if flags&flagChecksum != 0 { // it would be wrong, and may be left out
		m = m[:len(m)-checksumLength]
		binary.LittleEndian.PutUint32(m, uint32(len(m))) //nolint:gosec // at most maxMessageLength
	}
	binary.LittleEndian.PutUint32(m[headerLength:], flags&^(flagChecksum|flagMoreToCome|flagExhaustAllowed))
	return m
}

// body returns the document that a message carries, and the collection's full name
// if it is an OP_QUERY. Document sequences are in it as arrays.
func (m message) body() (doc bson.Raw, collection string, err error) {
	switch m.op() {
	case opMsg:
		doc, err = m.sections()
		return doc, "", err
	case opQuery:
		if len(m) < flagsEnd {
			return nil, "", fmt.Errorf("%w: an OP_QUERY of %d bytes", errFraming, len(m))
		}
		name, rest, ok := cutString(m[flagsEnd:])
		if !ok || len(rest) < 8 {
			return nil, "", fmt.Errorf("%w: an OP_QUERY without a query", errFraming)
		}
		doc, _, err = cutDocument(rest[8:])
		return doc, name, err
	case opReply:
		const start = headerLength + 20
		if len(m) < start {
			return nil, "", fmt.Errorf("%w: an OP_REPLY of %d bytes", errFraming, len(m))
		}
		doc, _, err = cutDocument(m[start:])
		return doc, "", err
	default:
		return nil, "", fmt.Errorf("%w: operation %d, which this proxy does not understand", errFraming, m.op())
	}
}

func (m message) sections() (bson.Raw, error) {
	if len(m) < flagsEnd {
		return nil, fmt.Errorf("%w: an OP_MSG of %d bytes", errFraming, len(m))
	}
	rest := []byte(m[flagsEnd:])
	if m.flags()&flagChecksum != 0 {
		if len(rest) < checksumLength {
			return nil, fmt.Errorf("%w: no room for the checksum", errFraming)
		}
		rest = rest[:len(rest)-checksumLength]
	}
	var body bson.Raw
	var arrays []byte // elements
	for len(rest) > 0 {
		kind := rest[0]
		var err error
		switch kind {
		case sectionBody:
			if body != nil {
				return nil, fmt.Errorf("%w: two bodies", errFraming)
			}
			body, rest, err = cutDocument(rest[1:])
		case sectionSequence:
			arrays, rest, err = appendSequence(arrays, rest[1:])
		default:
			err = fmt.Errorf("%w: a section of kind %d", errFraming, kind)
		}
		if err != nil {
			return nil, err
		}
	}
	if body == nil {
		return nil, fmt.Errorf("%w: no body", errFraming)
	}
	if len(arrays) == 0 {
		return body, nil
	}
	whole := append(append(make([]byte, 0, len(body)+len(arrays)), body[:len(body)-1]...), arrays...)
	return closeDocument(append(whole, 0), 0), nil
}

// appendSequence appends a document sequence as an element that is an array.
func appendSequence(elements, section []byte) (with, rest []byte, err error) {
	if len(section) < 4 {
		return nil, nil, fmt.Errorf("%w: a section without a length", errFraming)
	}
	n := binary.LittleEndian.Uint32(section)
	if n < 4 || uint64(n) > uint64(len(section)) {
		return nil, nil, fmt.Errorf("%w: a section of %d bytes where %d are left", errFraming, n, len(section))
	}
	name, docs, ok := cutString(section[4:n])
	if !ok {
		return nil, nil, fmt.Errorf("%w: a section without a name", errFraming)
	}
	elements = appendKey(elements, bson.TypeArray, name)
	start := len(elements)
	elements = append(elements, 0, 0, 0, 0)
	for i := 0; len(docs) > 0; i++ {
		var doc bson.Raw
		if doc, docs, err = cutDocument(docs); err != nil {
			return nil, nil, err
		}
		elements = append(appendKey(elements, bson.TypeEmbeddedDocument, strconv.Itoa(i)), doc...)
	}
	return closeDocument(append(elements, 0), start), section[n:], nil
}

func appendKey(to []byte, t bson.Type, key string) []byte {
	return append(append(append(to, byte(t)), key...), 0)
}

// closeDocument writes the length of the document that starts at start and ends
// with the slice.
func closeDocument(b []byte, start int) []byte {
	binary.LittleEndian.PutUint32(b[start:], uint32(len(b)-start)) //nolint:gosec // about maxMessageLength
	return b
}

func cutString(b []byte) (s string, rest []byte, ok bool) {
	for i, c := range b {
		if c == 0 {
			return string(b[:i]), b[i+1:], true
		}
	}
	return "", nil, false
}

func cutDocument(b []byte) (doc bson.Raw, rest []byte, err error) {
	if len(b) < 4 {
		return nil, nil, fmt.Errorf("%w: a document without a length", errFraming)
	}
	n := binary.LittleEndian.Uint32(b)
	if n < 5 || n > math.MaxInt32 || int(n) > len(b) {
		return nil, nil, fmt.Errorf("%w: a document of %d bytes where %d are left", errFraming, n, len(b))
	}
	doc = bson.Raw(b[:n])
	if err := doc.Validate(); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", errFraming, err)
	}
	return doc, b[n:], nil
}

// answer makes the message that answers a request with a document.
func answer(request message, doc bson.Raw) message {
	m := make(message, headerLength, headerLength+20+len(doc))
	binary.LittleEndian.PutUint32(m[8:], request.id())
	if request.op() == opQuery {
		binary.LittleEndian.PutUint32(m[12:], opReply)
		m = append(m, make([]byte, 20)...)
		m[len(m)-4] = 1 // one document
	} else {
		binary.LittleEndian.PutUint32(m[12:], opMsg)
		m = append(m, 0, 0, 0, 0, sectionBody)
	}
	return closeDocument(append(m, doc...), 0)
}

// command reads a request.
func (m message) command() (Command, error) {
	doc, collection, err := m.body()
	if err != nil {
		return Command{}, err
	}
	if wrapped, err := doc.LookupErr("$query"); err == nil {
		if query, ok := wrapped.DocumentOK(); ok {
			doc = query
		}
	}
	first, err := doc.IndexErr(0)
	if err != nil {
		return Command{}, fmt.Errorf("%w: an empty command", errFraming)
	}
	c := Command{Name: first.Key(), Body: doc}
	if collection != "" {
		c.Database, _, _ = strings.Cut(collection, ".")
	} else {
		c.Database, _ = doc.Lookup("$db").StringValueOK()
	}
	return c, nil
}
