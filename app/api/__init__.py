"""HTTP API: routes, middleware, admission control and schemas. A thin layer without domain logic."""
