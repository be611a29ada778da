"""The rules of Matrix: no input or output, no clock, no randomness, no logging."""
