"""Ways into the catalogue. Every one ends in `add.py`."""
