"""The commands of the command line, one module a group, and how they print."""
