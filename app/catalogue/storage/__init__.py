"""Storage of originals and thumbnails, on local disk or in S3."""
