package difftest

import "slices"

// shrink leaves operations out, in chunks that get smaller, then parts of
// operations, as long as there is any disagreement left, with at most so many
// tries. It may end at another disagreement than it began with.
func (f *finding) shrink(try func([]op) *trouble, tries int) {
	accept := func(ops []op) bool {
		if tries <= 0 {
			return false
		}
		tries--
		t := try(ops)
		if t == nil {
			return false
		}
		f.ops, f.trouble = ops, *t
		return true
	}
	if f.at < len(f.ops)-1 {
		accept(slices.Clone(f.ops[:f.at+1]))
	}
	for chunk := max(len(f.ops)/2, 1); ; {
		smaller := false
		for end := len(f.ops); end > 0; end -= chunk {
			if end > len(f.ops) {
				continue
			}
			if accept(slices.Delete(slices.Clone(f.ops), max(end-chunk, 0), end)) {
				smaller = true
			}
		}
		switch {
		case chunk > 1:
			chunk /= 2
		case !smaller:
			if !f.simplify(accept) {
				return
			}
		}
	}
}

// simplify replaces one operation by a simpler one and reports whether it could.
func (f *finding) simplify(accept func([]op) bool) bool {
	for i, o := range f.ops {
		s, ok := o.(interface{ simpler() []op })
		if !ok {
			continue
		}
		for _, by := range s.simpler() {
			ops := slices.Clone(f.ops)
			ops[i] = by
			if accept(ops) {
				return true
			}
		}
	}
	return false
}
