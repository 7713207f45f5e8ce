package events

import (
	"strconv"
	"strings"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Position is where an event stands in the log of a store: the feed of all events in
// the order in which readers see them. Positions of one store are compared as text, and
// mean nothing in another. The empty one stands before all.
type Position string

// MakePosition makes a position of numbers, the most significant first. Positions of as
// many numbers have the order of these. Stores call it.
func MakePosition(numbers ...uint64) Position {
	var b strings.Builder
	for i, n := range numbers {
		if i > 0 {
			b.WriteByte('-')
		}
		digits := strconv.FormatUint(n, 16)
		b.WriteString(strconv.FormatUint(uint64(len(digits)-1), 16)) // so that text compares as numbers do
		b.WriteString(digits)
	}
	return Position(b.String())
}

// Numbers reads n numbers that MakePosition has written; all are 0 for the empty
// position. ErrInvalid for anything else.
func (p Position) Numbers(n int) ([]uint64, error) {
	numbers := make([]uint64, n)
	if p == "" {
		return numbers, nil
	}
	parts := strings.Split(string(p), "-")
	if len(parts) == n {
		for i, part := range parts {
			if part == "" {
				break
			}
			numbers[i], _ = strconv.ParseUint(part[1:], 16, 64)
		}
		if MakePosition(numbers...) == p {
			return numbers, nil
		}
	}
	return nil, stabilize.Invalid("event position", "%q is not of this store", p)
}
