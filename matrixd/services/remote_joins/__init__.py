"""Joining rooms through other servers.

A join is a machine whose state is stored, so that it survives a restart; `states` tells what each means. One file a
subject: `handshake` asks a server, `staging` keeps its answer as it comes, `checking` decides about its events,
`room_import` makes the room usable, `filling` adds what the answer left out, and `machine` runs them.
"""
