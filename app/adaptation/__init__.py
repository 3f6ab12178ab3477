"""Fitting codes to a catalogue: a new H over the F7 that is stored, without labels and without reading an image."""
