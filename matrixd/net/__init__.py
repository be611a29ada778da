"""Outbound HTTP: discovery, signed requests, keys. Comes with federation."""
