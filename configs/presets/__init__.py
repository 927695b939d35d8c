"""Ready experiments as YAML; each opens with the command, how long it takes, and what to expect."""
