"""Headrace: event-driven MLOps on Apache Kafka."""

__version__ = "0.1.0"
