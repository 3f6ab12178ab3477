"""HTTP: parse, call, return. Thin; what things mean is decided below."""
