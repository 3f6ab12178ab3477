"""Image search: from an image file to ranked matches. Independent of HTTP and SQL."""
