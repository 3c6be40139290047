"""Pipelines as data: definitions, their schemas, rules, labels and expressions."""
