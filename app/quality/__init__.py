"""How good a catalogue's search is, and how it can get better."""
