"""WHO decides: a search without Ray. Imports no Ray and no torch."""
