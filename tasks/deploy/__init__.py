"""A finished model out of the store: as it is used, and as other programs run it."""
