"""What a running system tells about itself: health, metrics, logs and status."""
