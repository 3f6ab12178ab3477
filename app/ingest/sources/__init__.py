"""Sources of images: folders, tables, archives."""
