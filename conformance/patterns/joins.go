package patterns

func branching() []pattern { return nil }
func partial() []pattern   { return nil }
func merges() []pattern    { return nil }
func threads() []pattern   { return nil }
