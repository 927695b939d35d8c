"""What runs by Prefect: flows, deployments, workers, fan-out, and the server they belong to."""
