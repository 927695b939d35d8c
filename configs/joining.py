"""Which teachers can be joined into one, by the mean of what they say."""

from collections.abc import Mapping

from taskdistill.configs.models import Backbone
from taskdistill.configs.stages import MAX_TEACHERS


def check_joined(teachers: Mapping[str, Backbone], teacher_training: str) -> None:
    """Raise ValueError where several teachers, by the names of their settings, cannot be one."""
    num_more = len(teachers) - 1
    if num_more and teacher_training != "probed":
        raise ValueError(
            f"more_teachers is for probed teachers, and teacher_training is {teacher_training!r}: set it to 'probed', "
            "or leave more_teachers out"
        )
    if len(teachers) > MAX_TEACHERS:
        raise ValueError(
            f"more_teachers has {num_more} entries, and at most {MAX_TEACHERS} teachers are joined, the first among "
            f"them: leave {len(teachers) - MAX_TEACHERS} out"
        )
    first: dict[str, str] = {}
    for setting, teacher in teachers.items():
        key = teacher.model_dump_json()
        if key in first:
            raise ValueError(f"{setting} is the same network as {first[key]}: leave it out, it would count twice")
        first[key] = setting
