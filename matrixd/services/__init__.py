"""The write side: what changes something. Runs in the master."""
