"""Add images to the catalogue. Every source and job ends in `pipeline.py`."""
