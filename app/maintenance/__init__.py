"""Work on the whole catalogue: check, backup, restore, reindex, sync, export."""
