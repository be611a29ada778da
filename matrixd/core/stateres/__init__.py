"""State resolution: merging the states of several branches of a room into one.

This is where the algorithms of `versions.StateResolution` (v1, v2, v2.1) have their place. They come with federation:
a room whose events all come from one server never forks. An algorithm will ask for the events that it needs and be
fed with them, so that it stays pure and runs in any thread.

https://spec.matrix.org/v1.19/server-server-api/#room-state-resolution
"""
