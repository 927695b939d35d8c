"""Networks that were trained elsewhere and teach as they are: their sources, and the map to the classes of the task."""
