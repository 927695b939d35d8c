"""What is said where mmsegmentation is not installed."""

import pytest

from taskdistill.configs.errors import MissingPackageError
from taskdistill.tasks.openmmlab.packages import PACKAGES, check_installed


def test_missing_packages_are_named_with_the_command_that_installs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PACKAGES, "no_such_module", "no-such-package")
    with pytest.raises(MissingPackageError, match=r'The export needs .*no-such-package.*-e "\.\[segmentation\]"'):
        check_installed("The export")
