"""The advisory locks of the catalogue, in one place so that no two are the same; any numbers that nobody else locks."""

from enum import IntEnum


class Lock(IntEnum):
    """What only one may do at a time."""

    MIGRATE = 7_164_203
    BACKUP = 7_164_204  # and no original is deleted meanwhile
    DEMO = 7_164_208  # of several workers that start at once, one draws
    JOBS = 7_164_209
