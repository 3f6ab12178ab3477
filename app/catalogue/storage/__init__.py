"""Originals and thumbnails: on local disk or in S3."""
