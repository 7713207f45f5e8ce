package persistence

import "testing"

func TestCourtesyAmongGoroutinesThatCompute(t *testing.T) {
	var c courtesy
	if c.due() {
		t.Error("it is due before there was company")
	}
	c.sent(2)
	// waits returns how many batches do without.
	waits := func() (n int) {
		for ; !c.due(); n++ {
			c.sent(2)
		}
		return n
	}
	for _, want := range []int{0, 1, 3, 7, 15, 31, 63, 127, 255, 511, 1023, 1023} {
		if got := waits(); got != want {
			t.Fatalf("%d batches did without, want %d", got, want)
		}
		c.took(longTurn+perCommit+1, 1)
	}
	waits()
	c.took(longTurn+perCommit, 1)
	if got := waits(); got != 0 {
		t.Errorf("after a brief turn %d batches did without", got)
	}
	c.sent(1)
	if c.due() {
		t.Error("it is due for one that comes alone")
	}
}
