"""Status, tables and reports for people and programs. They read the record only."""
