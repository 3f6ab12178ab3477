"""Evaluation of a checkpoint on a labelled folder."""
