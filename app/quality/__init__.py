"""Search quality of a catalogue: reports, recommendations, and fine-tuning on its labels."""
