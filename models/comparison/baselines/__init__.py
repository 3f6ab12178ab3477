"""The systems that the paper measures itself against, and its own: one file a method, all behind one protocol.

Each reads the same features and gives codes; none knows of networks, files or how codes are compared.
"""
