"""Zip and tar archives of images, read by a separate process."""
