"""How the program ends: at signals, at errors of the operating system, and with which words and exit code."""
