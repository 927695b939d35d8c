"""The shells: command line and Prefect flows around one chain of stages."""
