"""Lookalike's networks: from an image to its code and feature vector. Independent of the service."""
