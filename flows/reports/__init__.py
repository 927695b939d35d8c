"""What people look at: the table of scores, the HTML page, what the Prefect UI shows."""
