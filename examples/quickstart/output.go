package main

import (
	"fmt"
	"io"
	"sync"
)

// output is the program's standard output, for writing from any goroutine.
type output struct {
	mu sync.Mutex
	to io.Writer
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.to.Write(p)
}

// last writes the program's last words: whoever has more to say waits for ever.
func (o *output) last(words string) {
	o.mu.Lock()
	fmt.Fprintln(o.to, words)
}
