"""Changing a membership through a server that is in the room: a template, our signature, and back.

https://spec.matrix.org/v1.19/server-server-api/#joining-rooms
"""
