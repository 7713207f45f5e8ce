package sqlstore

import (
	"errors"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// flush writes what the commits checked so far left to be written, many rows in
// a statement. The order is: versions, stages, messages dropped, messages added,
// events.
// Whoever needs another order flushes first.
func (b *batch) flush() error {
	b.flight++
	if err := b.writeMany(stBump, &b.bumps, 1, nil); err != nil {
		return err
	}
	if err := b.writeMany(stPutStage, &b.stages, 7, b.findMoved); err != nil {
		return err
	}
	b.putBy = b.putBy[:0]
	if err := b.writeMany(stDropMessage, &b.drops, 1, nil); err != nil {
		return err
	}
	if err := b.writeMany(stAddMessage, &b.adds, 11, nil); err != nil {
		return err
	}
	return b.writeMany(stAddEvents, &b.events, 5, nil)
}

// writeMany runs the statement over rows of so many values each, in as few
// steps as its sizes allow, and empties them. short is called for the rows of a
// step that changed fewer than it was given.
func (b *batch) writeMany(id statement, rows *[]any, width int, short func(from, to int) error) error {
	at, total := 0, len(*rows)/width
	for at < total {
		size, n := 0, 1
		for i, fits := range sizes() {
			if fits <= total-at {
				size, n = i, fits
			}
		}
		changed, err := b.tx.change(id+statement(size), (*rows)[at*width:(at+n)*width]...)
		if err != nil {
			return err
		}
		if short != nil && changed < int64(n) {
			if err := short(at, at+n); err != nil {
				return err
			}
		}
		at += n
	}
	clear(*rows) // the bodies are not kept alive
	*rows = (*rows)[:0]
	return nil
}

func moved(id, ref, round, position any) error {
	return stabilize.Invalid("stage", "%q is stored with another ref, round or position than %q, round %d, position %d", id, ref, round, position)
}

// findMoved refuses the commits of the rows that are stored with another ref,
// round or position.
func (b *batch) findMoved(from, to int) error {
	found := false
	for i := from; i < to; i++ {
		row := b.stages[i*7 : (i+1)*7]
		n, err := b.tx.change(stPutStage, row...)
		if err != nil {
			return err
		}
		if n == 0 {
			found = true
			b.refuse(b.putBy[i], moved(row[1], row[3], row[4], row[5]))
		}
	}
	if !found {
		return errors.New("stages were not written, nobody knows why")
	}
	return nil
}
