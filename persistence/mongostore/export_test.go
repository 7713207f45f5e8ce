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
