"""What can go wrong with networks and their data, as exceptions whose text says what to do."""


class ModelError(Exception):
    """Base of everything that `models` raises on purpose."""


class CheckpointError(ModelError):
    """A checkpoint is missing, damaged, or its parts disagree."""


class DatasetError(ModelError):
    """A folder cannot be used as a data set."""


class RecipeError(ModelError):
    """A network cannot be made or trained as it was asked for."""


class WeightsUnavailableError(ModelError):
    """ImageNet weights are neither on this machine nor to be fetched."""
