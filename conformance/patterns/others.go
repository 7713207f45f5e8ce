package patterns

// Multiple instances: 12-15, 26, 27, 34-36.
func instances() []pattern { return nil }

// State-based: 16-18, 39, 40.
func states() []pattern { return nil }
