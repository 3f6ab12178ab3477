"""Quantised networks: int8 by NNCF, and bf16, measured beside the network that they are made from."""
