"""Fine-tuning with labels, and ITQ without."""
