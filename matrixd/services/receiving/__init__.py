"""What other servers send: one file for each stage of an event's way in, and for each type of EDU."""
