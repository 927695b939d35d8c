"""Networks: encoders behind one protocol, heads on top, and how either is shown an image.

Everything that imports torchvision or timm (tests: torchmetrics) does so after this package, which first makes
torchvision importable beside a torch it was not compiled for.
"""

from taskdistill.tasks.models import torchvision_ops

torchvision_ops.make_importable()
