"""The work: stages, and the maths, models, data and problems they are made of. Knows nothing of flows."""

import os

# A thread of OpenMP that waits for the others spins on its core, unless told before torch is loaded to sleep. On a
# core that another program needs, that costs both. This package comes before torch however a process was started, and
# the processes it starts inherit what is set here. What the user has set is left as it is.
for _name, _value in {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0", "KMP_BLOCKTIME": "0"}.items():
    os.environ.setdefault(_name, _value)
