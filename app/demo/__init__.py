"""The demo catalogue: product images drawn by code, so that a new service has something to search."""

from app.demo.catalogue import DemoImage, demo_images

__all__ = ["DemoImage", "demo_images"]
