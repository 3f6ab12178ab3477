"""HTTP endpoints for people who run the service: API keys, maintenance tasks, models."""
