"""Proof: replay with a verdict for every prediction, signed heads of the ledger, an independent witness."""
