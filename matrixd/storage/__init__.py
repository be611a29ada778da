"""The database: one module per noun, of functions on a transaction."""
