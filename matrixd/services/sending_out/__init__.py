"""What leaves for other servers: which events and EDUs wait for whom, and when they are sent."""
