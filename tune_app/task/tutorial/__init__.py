"""WHAT is trained: the tutorial in plain PyTorch. Imports no Ray, no Optuna and no other wing."""
