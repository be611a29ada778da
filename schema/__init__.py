"""The numbered migrations of the database, as package data; read by `matrixd.storage.migrations`.

They are written in SQLite's dialect. On PostgreSQL `INTEGER` becomes `BIGINT`, `TEXT` becomes `TEXT COLLATE "C"`,
`BLOB` becomes `BYTEA`, and `STRICT` and `WITHOUT ROWID` fall away. Above each table stands who writes it, how long a
row lives, and what deletes it.
"""
