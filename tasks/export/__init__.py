"""Finished models handed over: as folders that other programs run without this one."""
