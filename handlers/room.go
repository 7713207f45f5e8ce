package handlers

import (
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// checkRoom returns ErrTooLarge if the values of a stage leave too little of
// what the store takes for the rest of its life: a stage that fits to the last
// byte could not even be ended.
func (env *Env) checkRoom(s *stabilize.Stage) error {
	return env.checkSize("context and outputs of stage "+s.Ref, s.Context, s.Outputs)
}

func (env *Env) checkSize(what string, values ...stabilize.Values) error {
	limits, ok := env.Store.(persistence.Limits)
	if !ok {
		return nil
	}
	most := limits.MaxPayload()
	most -= min(most/8, 64<<10)
	var size int64
	for _, v := range values {
		size += sizeOf(v)
	}
	if size > most {
		return &stabilize.TooLargeError{What: what, Size: size, Max: most}
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
