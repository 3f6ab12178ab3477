"""Lookalike's hashing networks: from an image to its binary code and feature vector. Independent of the service."""
