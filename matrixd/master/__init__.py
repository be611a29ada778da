"""The master process: the composition root that builds every part, wires it, and runs it."""
