"""RGB to code and F7: batching and runtimes."""
