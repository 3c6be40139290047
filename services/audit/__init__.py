"""Audit: signed heads over the ledger."""
