"""mmsegmentation, where it is strong: its datasets' labels, its heads, its models as teachers, and models handed over.

All of it is optional: the packages are those of `pip install ".[segmentation]"`, and `packages.check_installed` names
those that are missing.
"""
