"""Networks that are not trained: a frozen one over all views, a finished one over new images, and how fast it is."""
