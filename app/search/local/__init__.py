"""The local index: code table, inverted lists, kernels, re-ranking, checksums."""
