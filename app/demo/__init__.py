"""The demo catalogue: product images drawn by code, so that a new service has something to search."""

from app.demo.catalogue import DemoPicture, demo_pictures

__all__ = ["DemoPicture", "demo_pictures"]
