"""Images of the size of MNIST: the original in this package, and others of the same kind from elsewhere."""
