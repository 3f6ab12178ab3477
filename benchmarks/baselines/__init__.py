"""Alternative search engines behind one protocol."""
