"""WHAT is searched, and what happened. Imports no Ray and no torch."""
