"""The report of a search: one HTML page."""
