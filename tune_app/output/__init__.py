"""WHAT a person gets: status, tables, exports. Reads the record only."""
