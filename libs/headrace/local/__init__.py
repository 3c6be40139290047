"""Kafka, the schema registry and all services on one machine: fetched, started, watched and stopped."""
