"""Ray Tune carries a search out."""
