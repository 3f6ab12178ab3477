"""What a team would install instead, each behind the same few words."""
