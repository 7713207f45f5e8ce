package patterns

func recursion() []pattern { return nil }
func triggers() []pattern  { return nil }
