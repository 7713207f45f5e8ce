//go:build unix

package mongostore_test

import (
	"math"
	"testing"

	"github.com/stabilize-dev/go-stabilize/persistence"
)

// A page may be as large as one likes.
func TestLargestPage(t *testing.T) {
	h := newHarness(t, servers.One())
	h.scene(t, "w")
	page, err := h.first.Query(t.Context(), persistence.Query{Limit: math.MaxInt})
	if err != nil || len(page.Workflows) != 1 || page.Next != "" {
		t.Errorf("%d workflows, next %q, %v", len(page.Workflows), page.Next, err)
	}
}
