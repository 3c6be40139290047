"""Features: validated events in, feature vectors out."""
