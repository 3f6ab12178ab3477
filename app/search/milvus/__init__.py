"""Index in Milvus."""
