"""Features of events: row expressions and windowed aggregates."""
