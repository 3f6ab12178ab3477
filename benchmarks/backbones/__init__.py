"""Cost of backbones, and the difference between their runtimes."""
