"""What other servers may read: events, state, history, the directory, users' devices."""
