"""Serving: feature vectors in, predictions out."""
