"""Decode image files into upright sRGB, in confined processes."""
