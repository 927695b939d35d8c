"""Images in: dataset forms, decoding, splits, and batches of views."""
