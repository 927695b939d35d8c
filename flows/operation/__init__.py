"""What runs a machine: server, work pool and workers, started, watched over, examined and stopped."""
