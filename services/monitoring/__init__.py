"""Monitoring: predictions and labels in, outcomes out."""
