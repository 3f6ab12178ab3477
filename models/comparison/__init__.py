"""The paper's baselines and ours on the same features."""
