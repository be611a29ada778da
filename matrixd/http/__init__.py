"""The HTTP side: `kit` is what all share; the other parts know nothing of each other."""
