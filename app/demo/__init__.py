"""The demo catalogue: product pictures drawn by code, so that the first search has something to find."""

from app.demo.catalogue import DemoPicture, demo_pictures

__all__ = ["DemoPicture", "demo_pictures"]
