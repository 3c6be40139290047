"""Re-key: accepted records in, the same records in the partition of another column out."""
