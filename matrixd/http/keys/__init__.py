"""The server key API. Comes with federation."""
