"""The check of a server, against servers on loopback that do what a test says."""
