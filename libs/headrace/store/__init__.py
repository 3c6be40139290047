"""What is kept outside the log: artifacts by digest, the key that signs, the SQL views."""
