"""Exceptions of `models`. Their messages say what is wrong and what to do."""


class ModelError(Exception):
    """Base class of all exceptions that `models` raises deliberately."""


class CheckpointError(ModelError):
    """A checkpoint is missing, damaged or inconsistent."""


class DatasetError(ModelError):
    """A folder is not usable as a data set."""


class ConfigError(ModelError):
    """A training or network configuration is invalid."""


class WeightsUnavailableError(ModelError):
    """Published weights are neither installed nor downloadable."""


class WeightsError(ModelError):
    """A weights file is damaged, unsafe or of another network."""
