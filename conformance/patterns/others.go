package patterns

// Cancellation and termination: 11, 19, 20, 25, 43.
func endings() []pattern { return nil }

// Iteration and triggers: 10, 21-24.
func cycles() []pattern { return nil }
