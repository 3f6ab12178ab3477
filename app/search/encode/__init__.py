"""Encode RGB images into codes and F7: batching and runtimes."""
