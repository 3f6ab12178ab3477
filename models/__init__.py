"""The networks: what turns a picture into a code and a feature vector. Knows nothing of the service."""
