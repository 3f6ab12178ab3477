"""The calls of the API, as requests and the parsing of their responses."""
