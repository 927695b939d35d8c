"""How long some work takes: of the clock, or of the processor, which other programs stretch less."""

import time
from collections.abc import Callable


def clock_seconds_of(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def processor_seconds_of(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began
