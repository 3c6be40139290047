"""Ingestion: raw events in, validated events and refusals out."""
