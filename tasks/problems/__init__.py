"""Problems: what is learnt, behind one protocol. A new one is a module here and a line in configs.choices."""

import tasks.models  # noqa: F401  # before torchmetrics, which imports torchvision where it finds it
