"""The console: one page and an HTTP API over what the log says."""
