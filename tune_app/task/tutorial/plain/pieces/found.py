"""A script's constants. Here the tutorial's; a bundle's train.py has what the search found instead."""

lr = 0.1
bs = 64
momentum = 0.9
weight_decay = 0.0
width = 1
seed = 0
epochs = 2.0
results_per_epoch = 4
threads = 1
