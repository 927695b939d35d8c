"""The stages, a module each: what is read, what is computed, what is written. `tasks.catalog` declares them."""
