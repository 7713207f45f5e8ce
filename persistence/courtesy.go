package persistence

import (
	"runtime"
	"time"
)

// courtesy says when the leader of a batch gives way before it gathers: those who were
// told of the last batch together with it run then, and come with this one. It costs a
// turn of all goroutines that can run: nothing where they are few and brief, too much
// where they compute.
type courtesy struct {
	company bool // the last batch was of more than one
	skip    int  // so many batches do without
	skips   int  // as were skipped when it last took long
}

// A turn is long that takes more than longTurn and perCommit for each commit that came
// of it: deciding one takes about half of that.
const (
	longTurn  = time.Millisecond
	perCommit = 100 * time.Microsecond
	mostSkips = 1023
)

func (c *courtesy) due() bool {
	if !c.company {
		return false
	}
	if c.skip > 0 {
		c.skip--
		return false
	}
	return true
}

// took notes how long a turn took, and how many commits came of it. If it was long the
// next is later, each time twice as late.
func (c *courtesy) took(d time.Duration, came int) {
	if d <= longTurn+time.Duration(came)*perCommit {
		c.skips = 0
		return
	}
	c.skips = min(2*c.skips+1, mostSkips)
	c.skip = c.skips
}

// sent notes the size of a batch.
func (c *courtesy) sent(n int) { c.company = n > 1 }

// giveWay lets the goroutines run that can, and returns how long they did, in real time:
// so do they.
func giveWay() time.Duration {
	began := time.Now()
	runtime.Gosched()
	return time.Since(began)
}
