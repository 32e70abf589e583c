"""An exported folder: write it, check it, train it again, predict with it."""
