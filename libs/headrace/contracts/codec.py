"""Avro bodies to Arrow columns and back."""

from headrace.contracts.arrow import project
from headrace.contracts.decoded import Budget, Decoded
from headrace.contracts.plain import PlainCodec as Codec

__all__ = ["Budget", "Codec", "Decoded", "project"]
