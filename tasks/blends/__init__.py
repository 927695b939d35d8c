"""Blends of two parents: which pairs, drawn in which batches, how like their parents, and pictures of them."""
