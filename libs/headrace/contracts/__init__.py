"""The contracts: records, topics, the Avro codec. Pure but for ``catalogue``, which reads ``schemas/``."""
