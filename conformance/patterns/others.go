package patterns

// Multiple instances: 12-15, 26, 27, 34-36.
func instances() []pattern { return nil }

// State-based: 16-18, 39, 40.
func states() []pattern { return nil }

// Cancellation and termination: 11, 19, 20, 25, 43.
func endings() []pattern { return cancels() }

// Iteration and triggers: 10, 21-24.
func cycles() []pattern { return nil }
