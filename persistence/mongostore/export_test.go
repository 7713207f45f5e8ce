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

// ClassOf is the class of a driver's error.
func ClassOf(err error) error { return classOf(err) }

// Refused reports whether a driver's error is of what will be refused again.
func Refused(err error) bool { return refused(err) }
