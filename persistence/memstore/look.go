package memstore

import (
	"reflect"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Rows counts what is stored, by what holds it: every map and slice of the data,
// found by reflection, so that a new one is counted the day it is added; workers
// and handles are none of it. Tests see by it that nothing is left behind. It is
// safe for concurrent use.
func (d *Data) Rows() map[string]int {
	d.mu.Lock()
	defer d.mu.Unlock()
	rows := map[string]int{"leased": d.leased}
	v := reflect.ValueOf(d).Elem()
	for i := range v.NumField() {
		f := v.Type().Field(i)
		switch f.Name {
		case "workers", "wakes", "nobody", "spent", "lanes": // handles and workers; lanes are counted below
			continue
		}
		switch f.Type.Kind() {
		case reflect.Map, reflect.Slice:
			rows[f.Name] = v.Field(i).Len()
		}
	}
	rows["lanes"] = len(d.lanes[0]) + len(d.lanes[1]) + len(d.spent)
	rows["seats"] = 0
	for _, g := range d.gates {
		rows["seats"] += g.holding.Len() + g.waiting.Len()
	}
	return rows
}

// SetVersion moves a workflow and its stages to a version, past every handle:
// tests reach by it what takes too many commits. ErrNotFound. It is safe for
// concurrent use.
func (d *Data) SetVersion(workflowID string, version int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	o := d.owners[workflowID]
	if o == nil || o.workflow == nil {
		return &stabilize.NotFoundError{Kind: "workflow", ID: workflowID}
	}
	o.workflow.version = version
	for i, s := range o.workflow.slots {
		if s != nil {
			c := s.Clone()
			c.Version = version
			o.workflow.slots[i] = c
		}
	}
	return nil
}
