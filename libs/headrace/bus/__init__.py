"""The runtime: manifests, the engine that runs them without I/O, and its adapters to memory, Kafka and Faust."""
