"""The command line, `lookalike …`."""
