"""Reports: pages and plots."""
