"""What exists on disk: the artifact store and the formats inside artifacts. Imports neither torch nor prefect."""
