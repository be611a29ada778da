"""`GET /sync`: from the per-user room index and the newest rows in memory, or from the database behind them.

- `request`: what a client asks for; `sync`: the answer to it, and waiting for one that says something;
- `changes`: which rooms have news; `load`: what the database has to say of some rooms, in one transaction;
- `joined`, `invited`, `left`: the sections of the answer; `write`: their JSON, joined from shared bytes;
- `lazy_members`: which member events a device has been sent already.

https://spec.matrix.org/v1.19/client-server-api/#syncing
"""
