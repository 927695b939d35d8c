"""What is lost where logits are kept in one byte a number, on those of a finished run.

    TASKDISTILL_STORE=... python -m tests.benchmarks.int8_logits logits@3f9c12ab

Every output of the clean view is kept in int8 and restored. Told are the KL divergence of the restored from the true
distribution, in nats, without the factor T^2 of training, and the share of answers that change; means over all places.
"""

import argparse
import os
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import kl_div, log_softmax

from taskdistill.configs.data import CLEAN_VIEW
from taskdistill.storage.int8_rows import quantised, restored
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.view_outputs import ViewOutputs
from tests.benchmarks.report import Row, finish

TEMPERATURES = (1, 2, 4)
AT_ONCE = 64


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("logits", help="a reference, of logits in fp16")
    options.add_argument("--json", action="store_true")
    arguments = options.parse_args()
    store = ArtifactStore(Path(os.environ["TASKDISTILL_STORE"]))
    outputs = ViewOutputs(store.path(store.resolve(arguments.logits, "logits")))
    finish("Logits in int8", losses(outputs), as_json=arguments.json)


def losses(outputs: ViewOutputs) -> list[Row]:
    """Return the mean divergence at each temperature, and the share of answers that change."""
    num_images, sums = len(outputs.ids_of(CLEAN_VIEW)), np.zeros(len(TEMPERATURES) + 1)
    for start in range(0, num_images, AT_ONCE):
        rows = outputs.rows(start, min(start + AT_ONCE, num_images), CLEAN_VIEW)
        true, kept = (torch.from_numpy(values).double() for values in (rows, restored(*quantised(rows))))
        divergences = [
            kl_div(log_softmax(kept / t, 1), log_softmax(true / t, 1), reduction="none", log_target=True).sum(1)
            for t in TEMPERATURES
        ]
        changed = (true.argmax(1) != kept.argmax(1)).double()
        sums += [len(rows) * values.mean().item() for values in (*divergences, changed)]
    means = sums / num_images
    named = [Row(f"KL at T = {t}", mean, "nats") for t, mean in zip(TEMPERATURES, means[:-1], strict=True)]
    return [*named, Row("answers that change", 100 * means[-1], "%")]


if __name__ == "__main__":
    main()
