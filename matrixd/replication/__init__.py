"""The streams over TCP. Comes with workers."""
