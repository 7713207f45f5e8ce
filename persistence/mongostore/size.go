package mongostore

import (
	"encoding/base64"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// How large documents are, so that what a server would not take is refused before
// anything is sent.

const (
	// largest is the largest document of a server that does not say.
	largest = 16 << 20
	// reserve is more than what a workflow's document has beside its bodies and keys.
	reserve = 16 << 10
)

// bytes is what a body, or what stands for one that is outside, takes in a document.
func (k kept) bytes() int64 {
	if k.payload != "" {
		return int64(bsonNumber + 2*bsonText + len(k.payload))
	}
	return bsonNumber + bsonText + k.size
}

// bytes is what a stage takes in its workflow's document.
func (k *keptStage) bytes(id string) int64 {
	const fixed = 2 + 5 + 3*bsonNumber + bsonText // its name and end, its frame, three numbers, Ref
	return int64(fixed+base64.RawURLEncoding.EncodedLen(len(id))+len(k.ref)) + k.kept.bytes()
}

// What a field with a name of one letter takes in BSON, without the text.
const (
	bsonNumber = 1 + 2 + 8
	bsonText   = 1 + 2 + 4 + 1
)

// checkSize refuses what would make the workflow's document, or one of its payloads,
// too large for the server.
func (s *Store) checkSize(w *work) {
	a := &w.change
	size := a.size + reserve
	for _, key := range a.keys {
		size += int64(len(key)) + 2*bsonText
	}
	err := s.fits(fmt.Sprintf("the document of workflow %q", w.c.WorkflowID), size)
	for i := range w.payloads {
		if err == nil {
			err = s.fits(fmt.Sprintf("a header or a stage of workflow %q", w.c.WorkflowID), int64(len(w.payloads[i].Body))+reserve)
		}
	}
	if err != nil {
		w.fail(err)
	}
}

// tooLargeBeside tells why a server refuses for good to mark a message with the one that
// takes its place: not every server has a code for it, and how large the first is, is not
// known.
func (s *Store) tooLargeBeside(next *message, err error) error {
	if err == nil || next == nil || !refused(err) {
		return err
	}
	size := int64(len(next.Body)) + s.cfg.MaxPayload
	if tooLarge := s.fits(fmt.Sprintf("message %q, with the one whose place it takes,", next.ID), size); tooLarge != nil {
		return tooLarge
	}
	return err
}

// checkDocument is ErrTooLarge for what the server would not take.
func (s *Store) checkDocument(what string, doc any) error {
	raw, err := bson.Marshal(doc)
	if err != nil {
		return err
	}
	return s.fits(what, int64(len(raw)))
}

func (s *Store) fits(what string, size int64) error {
	if size > s.largest {
		return &stabilize.TooLargeError{What: what, Size: size, Max: s.largest}
	}
	return nil
}
