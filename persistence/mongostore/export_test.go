package mongostore

import (
	"context"

	"github.com/stabilize-dev/go-stabilize/queue"
)

// DepthByIndex is Depth as it is counted where there are many messages.
func (s *Store) DepthByIndex(ctx context.Context) (queue.Depth, error) {
	lapsed, err := s.lapsed(ctx)
	if err != nil {
		return queue.Depth{}, err
	}
	return s.depthByIndex(ctx, micros(s.now()), lapsed)
}

// Limit makes the largest document that is sent smaller than the server's.
func (s *Store) Limit(bytes int64) { s.largest = bytes }

// SizeOf returns how large the document of a workflow is thought to be at most, and what
// of that is reserve.
func (s *Store) SizeOf(id string) (size, reserved int64) {
	a := s.known.take(id)
	s.known.put(a)
	return a.size + reserve, reserve
}

// ClassOf is the class of a driver's error.
func ClassOf(err error) error { return classOf(err) }

// Refused reports whether a driver's error is of what will be refused again.
func Refused(err error) bool { return refused(err) }
