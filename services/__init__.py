"""One folder a service: a manifest, pure handlers, and nothing that imports another service."""
