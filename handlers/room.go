package handlers

import (
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// checkRoom returns ErrTooLarge if the values of a stage leave too little of
// what the store takes for the rest of its life: a stage that fits to the last
// byte could not even be ended.
func (env *Env) checkRoom(s *stabilize.Stage) error {
	limits, ok := env.Store.(persistence.Limits)
	if !ok {
		return nil
	}
	most := limits.MaxPayload()
	most -= min(most/8, 64<<10)
	size := sizeOf(s.Context) + sizeOf(s.Outputs)
	if size > most {
		return &stabilize.TooLargeError{What: "context and outputs of stage " + s.Ref, Size: size, Max: most}
	}
	return nil
}

func sizeOf(v stabilize.Values) int64 {
	var n int64
	for key, raw := range v {
		n += int64(len(key) + len(raw) + 4)
	}
	return n
}
