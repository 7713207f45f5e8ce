package main

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// entry is one execution of a task's code, written by the code itself when it
// begins. A task may have several; the database keeps the result of one.
type entry struct {
	Run      string    `json:"run"` // unique
	Workflow string    `json:"workflow"`
	Key      string    `json:"key"` // the idempotency key: the same on every attempt
	Stage    string    `json:"stage"`
	Attempt  int       `json:"attempt"`
	Process  int       `json:"process"`
	At       time.Time `json:"at"`
}

// journal is a file of entries, one JSON line each, for appending.
type journal struct {
	mu   sync.Mutex
	file *os.File
}

// openJournal opens the journal of a database. With a new database it starts
// anew: what stands in it is about runs that nobody can look up any more.
func openJournal(path, db string) (*journal, error) {
	mode := os.O_APPEND | os.O_CREATE | os.O_WRONLY
	if _, err := os.Stat(db); errors.Is(err, fs.ErrNotExist) {
		mode |= os.O_TRUNC
	}
	file, err := os.OpenFile(path, mode, 0o644)
	if err != nil {
		return nil, err
	}
	return &journal{file: file}, nil
}

// begin appends the entry of an execution in one write, which a killed process
// has either made or not, and returns its Run.
func (j *journal) begin(x *stabilize.Execution) (run string, err error) {
	e := entry{
		Run:      rand.Text(),
		Workflow: x.Workflow.ID,
		Key:      x.IdempotencyKey(),
		Stage:    x.Stage.Ref,
		Attempt:  x.Attempt,
		Process:  os.Getpid(),
		At:       time.Now().UTC(),
	}
	line, err := json.Marshal(e)
	if err != nil {
		return "", err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	_, err = j.file.Write(append(line, '\n'))
	return e.Run, err
}

// Close closes the file.
func (j *journal) Close() error { return j.file.Close() }

func readJournal(path string) ([]entry, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var entries []entry
	for i, line := range bytes.Split(bytes.TrimSpace(text), []byte("\n")) {
		var e entry
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, fmt.Errorf("%s line %d: %w", path, i+1, err)
		}
		entries = append(entries, e)
	}
	return entries, nil
}
