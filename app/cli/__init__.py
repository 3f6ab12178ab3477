"""The command-line interface, `lookalike …`."""
