"""WHERE an experiment lies: folders, and buckets with copies. Imports no Ray and no torch."""
