"""WHAT is trained, in plain PyTorch. Knows of no search."""
