package handlers

import (
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// checkRoom returns ErrTooLarge if the values of a stage leave too little of
// what the store takes for the rest of its life: a stage that fits to the last
// byte could not even be ended.
func (env *Env) checkRoom(s *stabilize.Stage) error {
	if size, most, ok := env.room(s.Context, s.Outputs); !ok {
		return &stabilize.TooLargeError{What: "context and outputs of stage " + s.Ref, Size: size, Max: most}
	}
	return nil
}

// room reports whether the values leave enough of what the store takes, and both
// numbers.
func (env *Env) room(values ...stabilize.Values) (size, most int64, ok bool) {
	limits, ok := env.Store.(persistence.Limits)
	if !ok {
		return 0, 0, true
	}
	most = limits.MaxPayload()
	most -= min(most/8, 64<<10)
	for _, v := range values {
		size += sizeOf(v)
	}
	return size, most, size <= most
}

func sizeOf(v stabilize.Values) int64 {
	var n int64
	for key, raw := range v {
		n += int64(len(key) + len(raw) + 4)
	}
	return n
}
