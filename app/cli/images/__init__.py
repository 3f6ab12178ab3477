"""Commands about the images of a catalogue that may use a running service."""
