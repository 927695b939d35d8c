"""How many GPUs this machine has, asked without torch, whose import takes seconds and a GPU's memory."""

import shutil
import subprocess

from taskdistill.flows.operation.prefect_environment import visible_gpus


def gpus_of_machine() -> list[str]:
    """Return the GPUs that may be used, as CUDA_VISIBLE_DEVICES names them."""
    if (named := visible_gpus()) is not None:
        return named
    if not (program := shutil.which("nvidia-smi")):
        return []
    asked = subprocess.run([program, "--list-gpus"], capture_output=True, text=True, timeout=60, check=False)
    lines = [line for line in asked.stdout.splitlines() if line.startswith("GPU ")]
    return [str(number) for number in range(len(lines))]
