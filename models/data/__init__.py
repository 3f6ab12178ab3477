"""Training data: folders, shards, augmentation."""
