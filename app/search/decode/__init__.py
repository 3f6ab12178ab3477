"""Bytes to upright sRGB, in confined processes."""
