"""Measurements that anybody can repeat; see each file's first lines for how."""
