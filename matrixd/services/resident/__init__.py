"""What this server does, as one that takes part in a room, for users of other servers who come, go and knock."""
