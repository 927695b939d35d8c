"""What becomes of runs when something goes wrong: each fault made for real on a machine that `taskdistill up` runs."""
