"""The tests; like any program that uses torch, they load the package first that has waiting threads sleep."""

import taskdistill.tasks  # noqa: F401
