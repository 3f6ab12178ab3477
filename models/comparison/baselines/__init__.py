"""Hashing methods of the paper's comparison, one module each, behind one protocol.

Each maps features to codes; none depends on networks, files or search.
"""
