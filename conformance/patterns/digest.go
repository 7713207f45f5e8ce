package patterns

import (
	"slices"
	"strings"

	"github.com/stabilize-dev/go-stabilize/conformance/internal/kit"
)

// digest is what must be the same in all cells of every workflow. One line each,
// sorted.
func (r *run) digest() string {
	if !r.begun {
		return ""
	}
	var lines []string
	for _, h := range r.workflows() {
		w := r.load(h.ID)
		lines = append(lines, kit.Digest(w.Application+"/"+w.Name+"/"+w.Key, w)...)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
