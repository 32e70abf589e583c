"""HOW it runs. The only wing that imports Ray."""
