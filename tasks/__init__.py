"""The work: stages, and the maths, models, data and problems they are made of. Knows nothing of flows."""
