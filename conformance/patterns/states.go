package patterns

// State-based: 16-18, 39, 40.
func states() []pattern { return nil }
