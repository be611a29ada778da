"""`GET /events`, `GET /initialSync` and a room's `initialSync`: what clients read that are older than `/sync`.

- `form`: the JSON of events and rooms as these clients know them;
- `stream`: the events of some rooms in the order in which they came;
- `own_rooms`, `peeked_room`: `/events` of all of a user's rooms, or of one that the user need not be in;
- `snapshot`, `room_snapshot`: `initialSync` of everything, or of one room.

They are `/sync` told in another form, and read what it reads (`queries/sync`).

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3events
"""
