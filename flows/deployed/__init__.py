"""What runs by Prefect: flows, what is deployed of them, fan-out, and what everything on the server is called."""
