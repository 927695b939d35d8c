"""The pipeline: the chain of stages, what a plan says of it, and doing it with progress."""
