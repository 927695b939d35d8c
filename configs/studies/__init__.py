"""The studies that come with the program, as YAML."""
