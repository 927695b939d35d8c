"""The pipeline: the graph of steps, what a plan says of it, and doing whatever is ready, with progress."""
