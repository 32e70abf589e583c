"""WHERE trials run: start or join a Ray, and end it."""
